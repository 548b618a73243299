//! `Window`: functions over ordered partitions.

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment, WindowFunction};
use datafusion::logical_expr::{
    Expr as LogicalExpr, Window, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
};

use super::ordered::{Columns, Ordered};
use super::{Lowering, refused};
use crate::base::{Error, Result};
use crate::functions::{AggregateCall, Compiled, Expr, Literal, Value, aggregate_from_datafusion, from_datafusion};
use crate::operators::{Bound, Frame, OperatorSpec, OverCall, OverFunction, OverSpec, Units};
use crate::plan::build::{Closes, Stream};
use crate::types::{Schema, SqlType};

impl Lowering {
    pub(super) fn over(&mut self, window: &Window) -> Result<Stream> {
        let functions = window.window_expr.iter().map(function_of).collect::<Result<Vec<_>>>()?;
        let Some(first) = functions.first() else { return Err(Error::internal("OVER without a function")) };
        let mut stream = self.lower(&window.input)?;
        let (schema, width) = (window.input.schema(), stream.width());
        let mut columns = Columns::new(&stream);
        let order = columns.order(schema, &first.params.partition_by, &first.params.order_by)?;
        let mut calls = Vec::new();
        for function in &functions {
            calls.push(call(function, schema, &mut columns)?);
        }
        columns.project(&mut stream)?;
        for call in &mut calls {
            call.settle(&stream.schema)?;
        }
        let mut ordered = Ordered { stream, width, order };
        let free_on = self.free_partitions(&mut ordered)?;
        let Ordered { mut stream, order, .. } = ordered;
        stream.drop_hidden()?;
        let partition = order.partition.clone();
        let edge = self.builder.edge(&mut stream, Some(&partition))?;
        let all = stream.width();
        let calls = calls.into_iter().map(|call| call.call).collect();
        let spec = OverSpec { input: stream.schema.clone(), order, calls, free_on };
        // Windows that come closed come whole: what is computed over them is final.
        let is_final = free_on.is_some() && stream.closes == Closes::All;
        let mut over = self.builder.operator(OperatorSpec::Over(spec), vec![edge], is_final, false)?;
        over.watermark = stream.watermark.clone();
        over.windows = stream.windows.clone();
        over.sealed = stream.sealed;
        over.closes = if is_final { Closes::All } else { stream.closes.and(Closes::Revised) };
        over.unique = stream.unique.clone();
        over.placed_by = Some(partition);
        let fields = window.schema.fields().iter().enumerate().map(|(i, field)| {
            let from = if i < width { i } else { i - width + all };
            let wanted = SqlType::from_arrow(field.data_type())?;
            let column = Expr::Column(from);
            let same = over.schema.columns.get(from).is_some_and(|column| column.ty == wanted);
            Ok((field.name().clone(), if same { column } else { column.cast(wanted) }))
        });
        let fields = fields.collect::<Result<Vec<_>>>()?;
        over.project(fields)?;
        Ok(over)
    }
}

/// SQLSTATE of a frame that has no meaning.
const WINDOWING_ERROR: &str = "42P20";

/// A call whose type is still to be worked out.
struct Call {
    call: OverCall,
    /// The default of lag and lead.
    default: Option<Literal>,
}

impl Call {
    /// Works out the type over rows of `input`.
    fn settle(&mut self, input: &Schema) -> Result<()> {
        match &mut self.call.function {
            OverFunction::Shift { column, default, .. } => {
                self.call.ty = Expr::Column(*column).ty(input)?;
                *default = self.default.take().map(|default| cast(default, &self.call.ty)).transpose()?;
            }
            OverFunction::Nth { column, .. } => self.call.ty = Expr::Column(*column).ty(input)?,
            OverFunction::Aggregate(call) => {
                // Its arguments are columns now.
                *call =
                    AggregateCall::new(call.function, call.args.clone(), call.distinct, call.filter.clone(), input)?;
                self.call.ty = call.ty.clone();
            }
            OverFunction::RowNumber
            | OverFunction::Rank
            | OverFunction::DenseRank
            | OverFunction::PercentRank
            | OverFunction::CumeDist
            | OverFunction::Ntile(_) => {}
        }
        Ok(())
    }
}

fn function_of(expr: &LogicalExpr) -> Result<&WindowFunction> {
    match expr {
        LogicalExpr::WindowFunction(function) => Ok(function),
        LogicalExpr::Alias(alias) => function_of(&alias.expr),
        other => Err(Error::internal(format!("{other} is no window function"))),
    }
}

fn call(function: &WindowFunction, schema: &DFSchema, columns: &mut Columns) -> Result<Call> {
    let name = function.fun.name();
    let params = &function.params;
    if params.distinct {
        return Err(refused(&format!("DISTINCT in {name}() OVER"), "Compute it in a view with GROUP BY, and join it."));
    }
    let ignore_nulls = params.null_treatment == Some(NullTreatment::IgnoreNulls);
    let args = params.args.iter().map(|arg| from_datafusion(arg, schema)).collect::<Result<Vec<_>>>()?;
    let mut hold = |i: usize| match args.get(i) {
        Some(arg) => Ok(columns.hold(arg.clone())),
        None => Err(Error::invalid(format!("window function {name} needs an argument"))),
    };
    let number = |i: usize| args.get(i).map(|arg| whole(arg, name)).transpose();
    let mut ty = SqlType::BigInt;
    let mut default = None;
    let mut shift = |sign: i64| -> Result<OverFunction> {
        let by = sign.saturating_mul(number(1)?.unwrap_or(1));
        if ignore_nulls && by.abs() > 1 {
            // With a plain number it was spelled as nth_value when it was bound.
            let what = format!("{name}() with IGNORE NULLS over more than one row");
            return Err(refused(&what, "Write the offset as a number, or leave IGNORE NULLS out."));
        }
        default = args.get(2).map(|arg| constant(arg, name)).transpose()?;
        Ok(OverFunction::Shift { column: hold(0)?, by, default: None, ignore_nulls })
    };
    let function = match name {
        "row_number" => OverFunction::RowNumber,
        "rank" => OverFunction::Rank,
        "dense_rank" => OverFunction::DenseRank,
        "percent_rank" | "cume_dist" => {
            ty = SqlType::Double;
            if name == "cume_dist" { OverFunction::CumeDist } else { OverFunction::PercentRank }
        }
        "ntile" => match number(0)? {
            Some(buckets @ 1..) => OverFunction::Ntile(buckets as u64),
            _ => return Err(Error::invalid("argument of ntile must be greater than zero")),
        },
        "lag" => shift(1)?,
        "lead" => shift(-1)?,
        "first_value" => OverFunction::Nth { column: hold(0)?, place: 1, ignore_nulls },
        "last_value" => OverFunction::Nth { column: hold(0)?, place: -1, ignore_nulls },
        "nth_value" => match number(1)? {
            Some(place) if place != 0 => OverFunction::Nth { column: hold(0)?, place, ignore_nulls },
            _ => return Err(Error::invalid("argument of nth_value must be greater than zero")),
        },
        _ => OverFunction::Aggregate(aggregate(function, schema, columns)?),
    };
    Ok(Call { call: OverCall { function, frame: frame(&params.window_frame)?, ty }, default })
}

/// An aggregate over a frame, its arguments and filter held as columns.
fn aggregate(function: &WindowFunction, schema: &DFSchema, columns: &mut Columns) -> Result<AggregateCall> {
    let name = function.fun.name();
    let WindowFunctionDefinition::AggregateUDF(udaf) = &function.fun else {
        return Err(refused(&format!("{name}() OVER"), "Write OVER in the SELECT that reads the view."));
    };
    let params = &function.params;
    let expr = LogicalExpr::AggregateFunction(AggregateFunction::new_udf(
        std::sync::Arc::clone(udaf),
        params.args.clone(),
        false,
        params.filter.clone(),
        Vec::new(),
        params.null_treatment,
    ));
    let mut call = aggregate_from_datafusion(&expr, schema)?;
    if !OverFunction::can_move(&call, schema_of(schema)?)? {
        let what = format!("{name}() OVER");
        return Err(refused(&what, "Compute it in a view with GROUP BY and join it, or when the view is read."));
    }
    for expr in call.args.iter_mut().chain(&mut call.filter) {
        *expr = Expr::Column(columns.hold(expr.clone()));
    }
    Ok(call)
}

fn schema_of(schema: &DFSchema) -> Result<Schema> {
    Schema::from_arrow(schema.as_arrow())
}

/// A constant argument.
fn constant(arg: &Expr, name: &str) -> Result<Literal> {
    let nothing = Schema::default();
    if !arg.columns().is_empty() {
        return Err(refused(&format!("{name}() OVER with an argument that is no constant"), "Write a constant."));
    }
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(1));
    let row = arrow::array::RecordBatch::try_new_with_options(nothing.arrow(), Vec::new(), &options)?;
    Literal::from_array(Compiled::new(arg, &nothing)?.evaluate(&row)?.all()?.as_ref(), 0)
}

fn whole(arg: &Expr, name: &str) -> Result<i64> {
    match constant(&arg.clone().cast(SqlType::BigInt), name)?.value {
        Value::Integer(value) => Ok(value),
        _ => Err(Error::invalid(format!("argument of {name} must be an integer"))),
    }
}

/// `literal` as a value of `ty`.
fn cast(literal: Literal, ty: &SqlType) -> Result<Literal> {
    if literal.ty == *ty { Ok(literal) } else { constant(&Expr::Literal(literal).cast(ty.clone()), "lag") }
}

fn frame(frame: &WindowFrame) -> Result<Frame> {
    let units = match frame.units {
        WindowFrameUnits::Rows => Units::Rows,
        WindowFrameUnits::Range => Units::Range,
        WindowFrameUnits::Groups => Units::Groups,
    };
    let start = bound(&frame.start_bound, units)?;
    let end = bound(&frame.end_bound, units)?;
    // As PostgreSQL has it: a frame does not end in rows that its beginning leaves out.
    let from = match (&start, &end) {
        (Bound::Current, Bound::Before(_) | Bound::Below(_)) => Some("current row cannot have preceding rows"),
        (Bound::Behind(_) | Bound::Above(_), Bound::Before(_) | Bound::Below(_) | Bound::Current) => {
            Some("following row cannot end before it")
        }
        _ => None,
    };
    if let Some(from) = from {
        return Err(Error::invalid(format!("frame starting from {from}"))
            .with_code(WINDOWING_ERROR)
            .with_hint("Write the earlier bound first: BETWEEN 2 PRECEDING AND CURRENT ROW."));
    }
    Ok(Frame { units, start, end })
}

fn bound(bound: &WindowFrameBound, units: Units) -> Result<Bound> {
    let (value, before) = match bound {
        WindowFrameBound::CurrentRow => return Ok(Bound::Current),
        WindowFrameBound::Preceding(value) => (value, true),
        WindowFrameBound::Following(value) => (value, false),
    };
    if value.is_null() {
        return Ok(if before { Bound::First } else { Bound::Last });
    }
    if units == Units::Range {
        let offset = LogicalExpr::Literal(value.clone(), None);
        let Expr::Literal(offset) = from_datafusion(&offset, &DFSchema::empty())? else {
            return Err(Error::internal("frame bound is no constant"));
        };
        return Ok(if before { Bound::Below(offset) } else { Bound::Above(offset) });
    }
    let rows = match value {
        ScalarValue::UInt64(Some(rows)) => *rows,
        ScalarValue::Int64(Some(rows)) => u64::try_from(*rows).unwrap_or(0),
        other => return Err(Error::internal(format!("frame bound {other}"))),
    };
    Ok(if before { Bound::Before(rows) } else { Bound::Behind(rows) })
}
