//! SESSION windows as a batch engine runs them: each row's session by its predecessor of the same keys.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, Field, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{Column, Result as PlanResult, exec_datafusion_err, plan_datafusion_err};
use datafusion::functions_aggregate::min_max::max_udaf;
use datafusion::functions_window::lead_lag::lag_udwf;
use datafusion::logical_expr::expr::{ScalarFunction, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, SortExpr, Volatility, Window, WindowFrame, WindowFunctionDefinition,
};

use super::window::{WINDOW_END, WINDOW_START, WindowAssign};

/// The time of the row before.
const BEFORE: &str = "__before";
/// The time, where a session begins.
const BEGINS: &str = "__begins";
/// The last time of a session.
const LAST: &str = "__last";

/// The rows of `assign.input` with their sessions, as functions over windows.
pub(super) fn expand_session(assign: &WindowAssign, gap_us: i64) -> PlanResult<LogicalPlan> {
    let time = Expr::Column(assign.time.clone());
    let own = |name: &str| Expr::Column(Column::new_unqualified(name));
    let columns: Vec<Expr> = assign.input.schema().columns().into_iter().map(Expr::Column).collect();
    let keys: Vec<Expr> = assign.keys.iter().cloned().map(Expr::Column).collect();
    let in_order = vec![SortExpr::new(time.clone(), true, false)];

    let timed = LogicalPlanBuilder::from(assign.input.clone()).filter(time.clone().is_not_null())?.build()?;
    let lag = WindowFunctionDefinition::WindowUDF(lag_udwf());
    let before = over(lag, time.clone(), keys.clone(), in_order.clone(), BEFORE);
    let with_before = Window::try_new(vec![before], Arc::new(timed))?;
    let begins = part(Part::Begins { gap_us }, vec![own(BEFORE), time.clone()]).alias(BEGINS);
    let begun = LogicalPlanBuilder::from(LogicalPlan::Window(with_before));
    let begun = begun.project(columns.iter().cloned().chain([begins]))?.build()?;

    let latest =
        |arg, keys, order, name| over(WindowFunctionDefinition::AggregateUDF(max_udaf()), arg, keys, order, name);
    let start = latest(own(BEGINS), keys.clone(), in_order, WINDOW_START);
    let started = LogicalPlan::Window(Window::try_new(vec![start], Arc::new(begun))?);
    let of_session = keys.into_iter().chain([own(WINDOW_START)]).collect();
    let last = latest(time, of_session, Vec::new(), LAST);
    let ended = LogicalPlan::Window(Window::try_new(vec![last], Arc::new(started))?);
    let end = part(Part::End { gap_us }, vec![own(LAST)]).alias(WINDOW_END);
    let start = part(Part::Known, vec![own(WINDOW_START)]).alias(WINDOW_START);
    LogicalPlanBuilder::from(ended).project(columns.into_iter().chain([start, end]))?.build()
}

fn over(
    fun: WindowFunctionDefinition,
    arg: Expr,
    partition_by: Vec<Expr>,
    order_by: Vec<SortExpr>,
    name: &str,
) -> Expr {
    let frame = if order_by.is_empty() { WindowFrame::new(None) } else { WindowFrame::new(Some(false)) };
    let params = WindowFunctionParams {
        args: vec![arg],
        partition_by,
        order_by,
        window_frame: frame,
        filter: None,
        null_treatment: None,
        distinct: false,
    };
    Expr::WindowFunction(Box::new(WindowFunction { fun, params })).alias(name)
}

fn part(part: Part, args: Vec<Expr>) -> Expr {
    let signature = Signature::any(args.len(), Volatility::Immutable);
    let func = Arc::new(ScalarUDF::new_from_impl(SessionPart { part, signature }));
    Expr::ScalarFunction(ScalarFunction { func, args })
}

/// What a [`SessionPart`] computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Part {
    /// The second time, where the first is none or more than the gap before it; else NULL.
    Begins { gap_us: i64 },
    /// The time itself, which is never NULL.
    Known,
    /// The time and the gap.
    End { gap_us: i64 },
}

/// The session arithmetic as a DataFusion function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SessionPart {
    part: Part,
    signature: Signature,
}

impl ScalarUDFImpl for SessionPart {
    fn name(&self) -> &str {
        match self.part {
            Part::Begins { .. } => "__session_begins",
            Part::Known => "__session_start",
            Part::End { .. } => "__session_end",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> PlanResult<DataType> {
        Ok(arguments.last().cloned().unwrap_or(DataType::Timestamp(TimeUnit::Microsecond, None)))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> PlanResult<Arc<Field>> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, matches!(self.part, Part::Begins { .. }))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let times = |i: usize| {
            let array = arrays.get(i).and_then(|array| array.as_primitive_opt::<TimestampMicrosecondType>());
            array.ok_or_else(|| plan_datafusion_err!("a session is made of timestamps"))
        };
        let last = times(arrays.len().saturating_sub(1))?;
        let out_of_range = || exec_datafusion_err!("window lies outside the range of timestamps");
        let mut values: Vec<Option<i64>> = Vec::with_capacity(last.len());
        for row in 0..last.len() {
            let time = last.value(row);
            values.push(match self.part {
                Part::Known => Some(time),
                Part::End { gap_us } => Some(time.checked_add(gap_us).ok_or_else(out_of_range)?),
                Part::Begins { gap_us } => {
                    let before = times(0)?;
                    let follows = before.is_valid(row) && time.saturating_sub(before.value(row)) <= gap_us;
                    (!follows).then_some(time)
                }
            });
        }
        let typed = TimestampMicrosecondArray::from(values).with_data_type(last.data_type().clone());
        Ok(ColumnarValue::Array(Arc::new(typed)))
    }
}
