//! `Limit`, and `Filter` on a number over `Window`: the first rows of each partition.

use datafusion::common::Column;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Expr as LogicalExpr, FetchType, Filter, Limit, LogicalPlan, Projection, SkipType, Window,
};

use super::Lowering;
use super::ordered::Ordered;
use crate::base::{Error, Result};
use crate::functions::{BinaryOp, Expr, Literal, Value, error_from_datafusion, from_datafusion};
use crate::operators::{OperatorSpec, Rank, TopSpec};
use crate::plan::build::{Closes, Stream};
use crate::types::SqlType;

/// Which numbers are shown: above the first, up to the second.
#[derive(Clone, Copy)]
struct Numbers {
    skip: u64,
    upto: u64,
}

impl Lowering {
    /// LIMIT and OFFSET.
    pub(super) fn limit(&mut self, limit: &Limit) -> Result<Stream> {
        let constant = |what: &str| {
            Error::unsupported(format!("{what} is not a constant")).with_hint("Write a number that is not negative.")
        };
        let skip = match limit.get_skip_type().map_err(error_from_datafusion)? {
            SkipType::Literal(rows) => rows as u64,
            SkipType::UnsupportedExpr => return Err(constant("OFFSET")),
        };
        let fetch = match limit.get_fetch_type().map_err(error_from_datafusion)? {
            FetchType::Literal(rows) => rows.map(|rows| rows as u64),
            FetchType::UnsupportedExpr => return Err(constant("LIMIT")),
        };
        let numbers = Numbers { skip, upto: fetch.map_or(u64::MAX, |rows| skip.saturating_add(rows)) };
        self.first(&limit.input, numbers)
    }

    fn first(&mut self, input: &LogicalPlan, numbers: Numbers) -> Result<Stream> {
        match input {
            LogicalPlan::Projection(projection) => {
                let stream = self.first(&projection.input, numbers)?;
                self.project(stream, projection)
            }
            LogicalPlan::Sort(sort) => {
                let mut stream = self.lower(&sort.input)?;
                stream.drop_hidden()?;
                let ordered = self.ordered(stream, sort.input.schema(), &[], &sort.expr)?;
                let width = ordered.width;
                let mut top = self.top(ordered, Rank::RowNumber, numbers, false)?;
                let columns = top.schema.columns.iter().take(width).enumerate();
                top.project(columns.map(|(i, column)| (column.name.clone(), Expr::Column(i))).collect())?;
                Ok(top)
            }
            other => Err(Error::internal(format!("LIMIT over rows without an order: {}", other.display()))),
        }
    }

    /// A filter that keeps low numbers of `row_number`, `rank` or `dense_rank`; `None` if it does not. `above` is what
    /// reads it: whether the number is to be shown.
    pub(super) fn numbered(&mut self, filter: &Filter, above: Option<&Projection>) -> Result<Option<Stream>> {
        let Some((window, between)) = window_beneath(&filter.input) else { return Ok(None) };
        let Some((rank, function)) = ranking(window) else { return Ok(None) };
        let counted = window.schema.fields().len() - 1;
        // Where the number lies among the columns that the filter sees.
        let number = match between {
            None => Some(counted),
            Some(projection) => places(projection)?.iter().position(|&column| column == counted),
        };
        let Some(number) = number else { return Ok(None) };
        let predicate = from_datafusion(&filter.predicate, filter.input.schema())?;
        let mut rest = Vec::new();
        let mut numbers = Numbers { skip: 0, upto: u64::MAX };
        for conjunct in conjuncts(predicate) {
            if !numbers.narrow(&conjunct, number) {
                rest.push(conjunct);
            }
        }
        if numbers.upto == u64::MAX {
            return Ok(None);
        }
        let name = Column::from(filter.input.schema().qualified_field(number));
        let shown = above.is_none_or(|above| above.expr.iter().any(|expr| expr.column_refs().contains(&name)))
            || rest.iter().any(|expr| expr.columns().contains(&number));
        let stream = self.lower(&window.input)?;
        let params = &function.params;
        let ordered = self.ordered(stream, window.input.schema(), &params.partition_by, &params.order_by)?;
        let width = ordered.width;
        let all = ordered.stream.width();
        let mut top = self.top(ordered, rank, numbers, shown)?;
        let mut columns: Vec<(String, Expr)> = top
            .schema
            .columns
            .iter()
            .take(width)
            .enumerate()
            .map(|(i, column)| (column.name.clone(), Expr::Column(i)))
            .collect();
        let field = window.schema.field(counted);
        let wanted = SqlType::from_arrow(field.data_type())?;
        columns.push((
            field.name().clone(),
            match shown {
                false => Expr::Literal(Literal::null(wanted)),
                true if wanted == SqlType::BigInt => Expr::Column(all),
                true => Expr::Column(all).cast(wanted),
            },
        ));
        top.project(columns)?;
        if let Some(projection) = between {
            top = self.project(top, projection)?;
        }
        for predicate in rest {
            top.filter(predicate);
        }
        Ok(Some(top))
    }

    /// The operator. Its stream has the columns of `ordered`, then the number if it is shown.
    fn top(&mut self, mut ordered: Ordered, rank: Rank, numbers: Numbers, shows_rank: bool) -> Result<Stream> {
        let free_on = self.free_partitions(&mut ordered)?;
        let Ordered { mut stream, order, .. } = ordered;
        stream.drop_hidden()?;
        let partition = order.partition.clone();
        let edge = self.builder.edge(&mut stream, Some(&partition))?;
        let spec = TopSpec {
            input: stream.schema.clone(),
            order,
            rank,
            skip: numbers.skip,
            upto: numbers.upto,
            shows_rank,
            append_only: stream.append_only,
            free_on,
        };
        // Windows that come closed come whole: what is shown of them is final.
        let is_final = free_on.is_some() && stream.closes == Closes::All;
        let mut top = self.builder.operator(OperatorSpec::Top(spec), vec![edge], is_final, false)?;
        top.watermark = stream.watermark.clone();
        top.windows = stream.windows.clone();
        top.sealed = stream.sealed;
        top.closes = if is_final { Closes::All } else { stream.closes.and(Closes::Revised) };
        let one = rank == Rank::RowNumber && numbers.upto.saturating_sub(numbers.skip) <= 1;
        top.unique = if one && !partition.is_empty() { Some(partition.clone()) } else { stream.unique.clone() };
        top.placed_by = Some(partition);
        Ok(top)
    }
}

/// The window that a filter reads, perhaps behind a projection that only chooses columns.
fn window_beneath(input: &LogicalPlan) -> Option<(&Window, Option<&Projection>)> {
    match input {
        LogicalPlan::Window(window) => Some((window, None)),
        LogicalPlan::Projection(projection) => match &*projection.input {
            LogicalPlan::Window(window) if projection.expr.iter().all(is_column) => Some((window, Some(projection))),
            _ => None,
        },
        _ => None,
    }
}

fn is_column(expr: &LogicalExpr) -> bool {
    match expr {
        LogicalExpr::Column(_) => true,
        LogicalExpr::Alias(alias) => is_column(&alias.expr),
        _ => false,
    }
}

/// The columns of its input that a projection chooses.
fn places(projection: &Projection) -> Result<Vec<usize>> {
    let place = |expr: &LogicalExpr| match from_datafusion(expr, projection.input.schema())? {
        Expr::Column(column) => Ok(column),
        other => Err(Error::internal(format!("{other} is no column"))),
    };
    projection.expr.iter().map(place).collect()
}

/// The function of a window with only one, if it numbers rows.
fn ranking(window: &Window) -> Option<(Rank, &WindowFunction)> {
    let [expr] = window.window_expr.as_slice() else { return None };
    let function = match expr {
        LogicalExpr::WindowFunction(function) => function,
        LogicalExpr::Alias(alias) => match &*alias.expr {
            LogicalExpr::WindowFunction(function) => function,
            _ => return None,
        },
        _ => return None,
    };
    let rank = match function.fun.name() {
        "row_number" => Rank::RowNumber,
        "rank" => Rank::Rank,
        "dense_rank" => Rank::DenseRank,
        _ => return None,
    };
    Some((rank, function))
}

fn conjuncts(predicate: Expr) -> Vec<Expr> {
    match predicate {
        Expr::And(args) => args.into_iter().flat_map(conjuncts).collect(),
        other => vec![other],
    }
}

impl Numbers {
    /// Takes in `number op constant`; whether it was that.
    fn narrow(&mut self, conjunct: &Expr, number: usize) -> bool {
        let Expr::Binary { op, left, right } = conjunct else { return false };
        let (op, bound) = match (&**left, &**right) {
            (Expr::Column(column), Expr::Literal(literal)) if *column == number => (*op, literal),
            (Expr::Literal(literal), Expr::Column(column)) if *column == number => (flipped(*op), literal),
            _ => return false,
        };
        let Some(bound) = whole(bound) else { return false };
        let (skip, upto) = match op {
            BinaryOp::Equal => (bound.checked_sub(1), Some(bound)),
            BinaryOp::LessEqual => (None, Some(bound)),
            BinaryOp::Less => (None, Some(bound.saturating_sub(1))),
            BinaryOp::Greater => (Some(bound), None),
            BinaryOp::GreaterEqual => (Some(bound.saturating_sub(1)), None),
            _ => return false,
        };
        self.skip = self.skip.max(skip.unwrap_or(0));
        self.upto = self.upto.min(upto.unwrap_or(u64::MAX));
        true
    }
}

fn flipped(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessEqual => BinaryOp::GreaterEqual,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterEqual => BinaryOp::LessEqual,
        other => other,
    }
}

/// A constant as a bound of numbers from 1; what is below counts as 0.
fn whole(literal: &Literal) -> Option<u64> {
    match (&literal.value, &literal.ty) {
        (Value::Integer(value), SqlType::SmallInt | SqlType::Int | SqlType::BigInt) => {
            Some(u64::try_from(*value).unwrap_or(0))
        }
        (Value::Decimal(digits), SqlType::Decimal { scale: 0, .. }) => Some(u64::try_from(digits.0).unwrap_or(0)),
        _ => None,
    }
}
