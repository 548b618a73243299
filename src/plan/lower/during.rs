//! Temporal filters: each comparison with `now()` turned into a time of the row at which it comes to hold, or ceases to.

use std::sync::Arc;

use datafusion::arrow::datatypes::Field;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result as PlanResult};
use datafusion::logical_expr::Expr as LogicalExpr;

use super::Lowering;
use crate::base::Result;
use crate::functions::{BinaryOp, Expr, Literal, Value, error_from_datafusion, from_datafusion, is_clock};
use crate::operators::{ClockBound, DuringSpec, OperatorSpec};
use crate::plan::build::Stream;
use crate::plan::during::{During, refused};
use crate::types::{Schema, SqlType};

/// `now() op time`: a comparison solved for the clock.
struct Solved {
    op: BinaryOp,
    time: Expr,
}

/// What the functions of the clock give, as columns behind those of the input: names and types.
const CLOCKS: [(&str, SqlType); 3] =
    [("__now", SqlType::TimestampTz), ("__local_now", SqlType::Timestamp), ("__today", SqlType::Date)];

/// The columns that predicates are read over.
struct Scope {
    /// How many the input has.
    width: usize,
    columns: DFSchema,
    schema: Schema,
}

impl Scope {
    fn new(input: &DFSchema) -> PlanResult<Scope> {
        let mut fields: Vec<_> = input.iter().map(|(table, field)| (table.cloned(), Arc::clone(field))).collect();
        let clock = |(name, ty): &(&str, SqlType)| (None, Arc::new(Field::new(*name, ty.arrow(), false)));
        fields.extend(CLOCKS.iter().map(clock));
        let columns = DFSchema::new_with_metadata(fields, input.metadata().clone())?;
        let schema = Schema::from_arrow(columns.as_arrow()).unwrap_or_default();
        Ok(Scope { width: input.fields().len(), columns, schema })
    }

    /// `predicate` with the clock as columns.
    fn lower(&self, predicate: &LogicalExpr) -> Result<Expr> {
        let lowered = predicate.clone().transform(|expr| {
            let LogicalExpr::ScalarFunction(call) = &expr else { return Ok(Transformed::no(expr)) };
            if !is_clock(call.func.name()) {
                return Ok(Transformed::no(expr));
            }
            let found = call.func.return_type(&[])?;
            let clock = CLOCKS.iter().find(|(_, ty)| ty.arrow() == found);
            let column = clock.map(|(name, _)| LogicalExpr::Column(Column::new_unqualified(*name)));
            Ok(column.map_or(Transformed::no(expr), Transformed::yes))
        });
        from_datafusion(&lowered.map_err(error_from_datafusion)?.data, &self.columns)
    }

    fn names_clock(&self, expr: &Expr) -> bool {
        expr.columns().iter().any(|column| *column >= self.width)
    }

    fn ty(&self, expr: &Expr) -> Result<SqlType> {
        expr.ty(&self.schema)
    }
}

impl Lowering {
    pub(super) fn during(&mut self, during: &During) -> Result<Stream> {
        let mut stream = self.lower(&during.input)?;
        stream.drop_hidden()?;
        let shown: Vec<(String, Expr)> =
            stream.schema.columns.iter().enumerate().map(|(i, c)| (c.name.clone(), Expr::Column(i))).collect();
        let scope = Scope::new(during.input.schema()).map_err(error_from_datafusion)?;
        let mut solved = Vec::new();
        for predicate in &during.predicates {
            scope.solve(scope.lower(predicate)?, &mut solved)?;
        }
        let mut columns = shown.clone();
        let (mut from, mut until) = (Vec::new(), Vec::new());
        for Solved { op, time } in solved {
            let (bounds, after, name) = match op {
                BinaryOp::GreaterEqual => (&mut from, false, "from"),
                BinaryOp::Greater => (&mut from, true, "from"),
                BinaryOp::Less => (&mut until, false, "until"),
                _ => (&mut until, true, "until"),
            };
            let column = match time {
                Expr::Column(column) => column,
                time => {
                    columns.push((format!("__{name}_{}", bounds.len() + 1), time));
                    columns.len() - 1
                }
            };
            bounds.push(ClockBound { column, after });
        }
        let (unique, computed) = (stream.unique.clone(), columns.len() > shown.len());
        stream.project(columns)?;
        let append_only = stream.append_only && until.is_empty();
        self.builder.settle(&mut stream)?;
        let spec = OperatorSpec::During(DuringSpec { input: stream.schema.clone(), from, until });
        let edge = self.builder.edge(&mut stream, spec.partition(0).as_deref())?;
        let mut kept = self.builder.operator(spec, vec![edge], append_only, false)?;
        kept.unique = unique;
        kept.closes = stream.closes;
        kept.single = stream.single;
        if computed {
            kept.project(shown)?;
        }
        Ok(kept)
    }
}

impl Scope {
    /// Solves `predicate` for the clock.
    fn solve(&self, predicate: Expr, solved: &mut Vec<Solved>) -> Result<()> {
        match predicate {
            Expr::And(all) => all.into_iter().try_for_each(|one| self.solve(one, solved)),
            Expr::Not(inner) => match *inner {
                Expr::Binary { op, left, right } => {
                    let op = negated(op).ok_or_else(refused)?;
                    self.solve(Expr::Binary { op, left, right }, solved)
                }
                _ => Err(refused()),
            },
            // Of one day, or another stretch of time: not before it, and not behind it.
            Expr::Binary { op: BinaryOp::Equal, left, right } => [BinaryOp::GreaterEqual, BinaryOp::LessEqual]
                .into_iter()
                .try_for_each(|op| self.solve(Expr::Binary { op, left: left.clone(), right: right.clone() }, solved)),
            Expr::Binary { op, left, right } => {
                let turned = flipped(op).ok_or_else(refused)?;
                solved.push(match (self.names_clock(&left), self.names_clock(&right)) {
                    (true, false) => self.alone(op, *left, *right)?,
                    (false, true) => self.alone(turned, *right, *left)?,
                    (true, true) | (false, false) => return Err(refused()),
                });
                Ok(())
            }
            _ => Err(refused()),
        }
    }

    /// `clock op time` with everything but the clock moved to the other side.
    fn alone(&self, op: BinaryOp, clock: Expr, time: Expr) -> Result<Solved> {
        match clock {
            Expr::Column(_) => self.of_type(op, &clock, time),
            Expr::Cast { expr, to } if to.is_timestamp() && self.ty(&expr)?.is_timestamp() => {
                self.alone(op, *expr, time)
            }
            Expr::Cast { expr, to: SqlType::Date } if self.ty(&expr)?.is_timestamp() => {
                let Solved { op, time } = of_day(op, time);
                self.alone(op, *expr, time)
            }
            Expr::Call { function, mut args, ty }
                if function == "date_trunc" && ty.is_timestamp() && args.len() == 2 =>
            {
                let (Some(inner), Some(unit)) = (args.pop(), args.pop()) else { return Err(refused()) };
                let Solved { op, time } = of_stretch(op, time, &unit, &ty)?;
                self.alone(op, inner, time)
            }
            Expr::Binary { op: BinaryOp::Add, left, right } => {
                let (clock, moved) = if self.names_clock(&left) { (left, right) } else { (right, left) };
                self.alone(op, *clock, Expr::binary(BinaryOp::Subtract, time, exact(*moved)?))
            }
            Expr::Binary { op: BinaryOp::Subtract, left, right } if self.names_clock(&left) => {
                match self.ty(&right)? {
                    // now() - ts < span: the span is added to the row's time.
                    ty if ty.is_timestamp() => self.alone(op, *left, Expr::binary(BinaryOp::Add, *right, exact(time)?)),
                    _ => self.alone(op, *left, Expr::binary(BinaryOp::Add, time, exact(*right)?)),
                }
            }
            Expr::Binary { op: BinaryOp::Subtract, left, right } => {
                let op = flipped(op).ok_or_else(refused)?;
                self.alone(op, *right, Expr::binary(BinaryOp::Subtract, *left, exact(time)?))
            }
            _ => Err(refused()),
        }
    }

    /// The comparison of a function of the clock with `time`, as one of `now()` with a timestamp.
    fn of_type(&self, op: BinaryOp, clock: &Expr, time: Expr) -> Result<Solved> {
        let found = self.ty(&time)?;
        match self.ty(clock)? {
            ty if ty.is_timestamp() && found.is_timestamp() => Ok(Solved { op, time }),
            ty if ty.is_timestamp() && found == SqlType::Date => Ok(Solved { op, time: time.cast(SqlType::Timestamp) }),
            SqlType::Date if found == SqlType::Date => Ok(of_day(op, time)),
            _ => Err(refused()),
        }
    }
}

/// The comparison of a day with that of the clock, as one of the clock with the beginning of that day or the next.
fn of_day(op: BinaryOp, day: Expr) -> Solved {
    let one = || Expr::Literal(Literal { ty: SqlType::Int, value: Value::Integer(1) });
    let (op, day) = match op {
        BinaryOp::Greater => (BinaryOp::GreaterEqual, Expr::binary(BinaryOp::Add, day, one())),
        BinaryOp::LessEqual => (BinaryOp::Less, Expr::binary(BinaryOp::Add, day, one())),
        op => (op, day),
    };
    Solved { op, time: day.cast(SqlType::Timestamp) }
}

/// `date_trunc(unit, clock) op time` as one of the clock with the beginning of a stretch of that length.
fn of_stretch(op: BinaryOp, time: Expr, unit: &Expr, ty: &SqlType) -> Result<Solved> {
    let Expr::Literal(Literal { value: Value::Text(name), .. }) = unit else { return Err(refused()) };
    let (months, days, seconds) = match name.to_ascii_lowercase().as_str() {
        "second" => (0, 0, 1),
        "minute" => (0, 0, 60),
        "hour" => (0, 0, 3_600),
        "day" => (0, 1, 0),
        "week" => (0, 7, 0),
        "month" => (1, 0, 0),
        "quarter" => (3, 0, 0),
        "year" => (12, 0, 0),
        _ => return Err(refused()),
    };
    let span = Expr::Literal(Literal::interval(months, days, seconds * 1_000_000_000));
    let time = time.cast(ty.clone());
    let first = || Expr::Call { function: "date_trunc".into(), args: vec![unit.clone(), time.clone()], ty: ty.clone() };
    let next = || Expr::binary(BinaryOp::Add, first(), span.clone());
    Ok(match op {
        BinaryOp::Greater => Solved { op: BinaryOp::GreaterEqual, time: next() },
        BinaryOp::LessEqual => Solved { op: BinaryOp::Less, time: next() },
        op => {
            let at_once = Expr::binary(BinaryOp::Equal, first(), time.clone());
            Solved {
                op,
                time: Expr::Case { branches: vec![(at_once, time.clone())], otherwise: Some(Box::new(next())) },
            }
        }
    })
}

/// A constant that can be moved to the other side of a comparison: of the same length at any time.
fn exact(expr: Expr) -> Result<Expr> {
    let fits = match &expr {
        Expr::Literal(literal) => match literal.value {
            Value::Interval { months, .. } => months == 0,
            Value::Integer(_) => true,
            _ => false,
        },
        _ => false,
    };
    if fits {
        return Ok(expr);
    }
    Err(refused().with_detail(
        "The span beside now() is not a constant of days, hours or less; a month is longer at one time than at another.",
    )
    .with_hint("Write the span beside the time of the row: ts + INTERVAL '1 month' > now()."))
}

/// `b op a` for `a op b`; of comparisons only.
fn flipped(op: BinaryOp) -> Option<BinaryOp> {
    match op {
        BinaryOp::Less => Some(BinaryOp::Greater),
        BinaryOp::LessEqual => Some(BinaryOp::GreaterEqual),
        BinaryOp::Greater => Some(BinaryOp::Less),
        BinaryOp::GreaterEqual => Some(BinaryOp::LessEqual),
        _ => None,
    }
}

fn negated(op: BinaryOp) -> Option<BinaryOp> {
    match op {
        BinaryOp::Less => Some(BinaryOp::GreaterEqual),
        BinaryOp::LessEqual => Some(BinaryOp::Greater),
        BinaryOp::Greater => Some(BinaryOp::LessEqual),
        BinaryOp::GreaterEqual => Some(BinaryOp::Less),
        _ => None,
    }
}
