//! `WindowAssign`: the logical node of TUMBLE, HOP, CUMULATE and SESSION, and what it means to a batch engine.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, TimestampMicrosecondArray};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, Field, TimeUnit, TimestampMicrosecondType};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{
    Column, DFSchema, DFSchemaRef, ExprSchema, NullHandling, Result as PlanResult, UnnestOptions, exec_datafusion_err,
    plan_datafusion_err,
};
use datafusion::logical_expr::{
    ColumnarValue, Expr, Extension, LogicalPlan, LogicalPlanBuilder, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, UserDefinedLogicalNodeCore, Volatility,
};

use super::session::expand_session;

/// The column that begins a window (inclusive).
pub const WINDOW_START: &str = "window_start";
/// The column that ends a window (exclusive).
pub const WINDOW_END: &str = "window_end";

/// A window function over event time. All in microseconds; sizes and slides are positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub enum Window {
    /// Each row in one window.
    Tumble {
        /// Length.
        size_us: i64,
        /// Windows start at `offset + k · size`.
        offset_us: i64,
    },
    /// Each row in every window it lies in.
    Hop {
        /// Distance between starts.
        slide_us: i64,
        /// Length.
        size_us: i64,
        /// Windows start at `offset + k · slide`.
        offset_us: i64,
    },
    /// Each row in every window of one start that ends behind it.
    Cumulate {
        /// How much longer each window is than the one before; it divides the size.
        step_us: i64,
        /// Length of the longest.
        size_us: i64,
        /// Windows start at `offset + k · size`.
        offset_us: i64,
    },
    /// Each row in the window of the rows of its keys that follow each other within the gap: from the first to the last
    /// and the gap.
    Session {
        /// The longest pause.
        gap_us: i64,
    },
}

impl Window {
    fn parts(self) -> (i64, i64, i64) {
        match self {
            Window::Tumble { size_us, offset_us } | Window::Cumulate { size_us, offset_us, .. } => {
                (size_us, size_us, offset_us)
            }
            Window::Hop { slide_us, size_us, offset_us } => (slide_us, size_us, offset_us),
            Window::Session { gap_us } => (gap_us, gap_us, 0),
        }
    }

    /// The length of a window, if all have the same.
    pub fn size_us(self) -> Option<i64> {
        match self {
            Window::Tumble { size_us, .. } | Window::Hop { size_us, .. } => Some(size_us),
            Window::Cumulate { .. } | Window::Session { .. } => None,
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (slide, size, offset) = self.parts();
        match self {
            Window::Tumble { .. } => write!(f, "TUMBLE size {}", Micros(size))?,
            Window::Hop { .. } => write!(f, "HOP slide {} size {}", Micros(slide), Micros(size))?,
            Window::Cumulate { step_us, .. } => write!(f, "CUMULATE step {} size {}", Micros(*step_us), Micros(size))?,
            Window::Session { gap_us } => write!(f, "SESSION gap {}", Micros(*gap_us))?,
        }
        if offset != 0 { write!(f, " offset {}", Micros(offset)) } else { Ok(()) }
    }
}

/// A duration as people write it.
pub(super) struct Micros(pub i64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "min"), (1_000_000, "s"), (1_000, "ms")];
        match units.iter().find(|(unit, _)| self.0 != 0 && self.0 % unit == 0) {
            Some((unit, name)) => write!(f, "{} {name}", self.0 / unit),
            None => write!(f, "{} us", self.0),
        }
    }
}

/// Appends `window_start` and `window_end` to its input, one row per (row, window). A row whose time is NULL is in none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WindowAssign {
    /// The rows.
    pub input: LogicalPlan,
    /// The column of the event time.
    pub time: Column,
    /// The columns by which sessions are kept apart; of other windows none.
    pub keys: Vec<Column>,
    /// The windows.
    pub window: Window,
    schema: DFSchemaRef,
}

impl WindowAssign {
    /// The node. Fails when `time` is not a column of `input`, or the input has a column of the windows' names already.
    pub fn new(input: LogicalPlan, time: Column, keys: Vec<Column>, window: Window) -> PlanResult<Self> {
        let ty = input.schema().field_from_column(&time)?.data_type().clone();
        let mut fields: Vec<_> =
            input.schema().iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
        for name in [WINDOW_START, WINDOW_END] {
            if fields.iter().any(|(_, field)| field.name() == name) {
                return Err(plan_datafusion_err!("input of a window function has a column \"{name}\" already"));
            }
            fields.push((None, Arc::new(Field::new(name, ty.clone(), false))));
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, input.schema().as_arrow().metadata().clone())?);
        Ok(WindowAssign { input, time, keys, window, schema })
    }

    /// The node as a plan.
    pub fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }
}

impl PartialOrd for WindowAssign {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.input.partial_cmp(&other.input) {
            Some(Ordering::Equal) => {
                (&self.time, &self.keys, &self.window).partial_cmp(&(&other.time, &other.keys, &other.window))
            }
            other => other,
        }
    }
}

impl UserDefinedLogicalNodeCore for WindowAssign {
    fn name(&self) -> &str {
        "WindowAssign"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        std::iter::once(&self.time).chain(&self.keys).cloned().map(Expr::Column).collect()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        let mut names: HashSet<String> = [WINDOW_START, WINDOW_END].map(str::to_string).into();
        if let Window::Session { .. } = self.window {
            // Without a row its neighbours may lie in other windows: only whole keys can be left out beneath.
            let others = self.input.schema().columns().into_iter().filter(|column| !self.keys.contains(column));
            names.extend(others.map(|column| column.name));
        }
        names
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WindowAssign: {} on {}", self.window, self.time)?;
        for (i, key) in self.keys.iter().enumerate() {
            write!(f, "{} {key}", if i == 0 { " by" } else { "," })?;
        }
        Ok(())
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> PlanResult<Self> {
        let mut columns = exprs.into_iter().map(|expr| match expr {
            Expr::Column(column) => Ok(column),
            expr => Err(plan_datafusion_err!("window function over {expr}: its time and keys must be columns")),
        });
        match (columns.next(), inputs.pop()) {
            (Some(time), Some(input)) => {
                WindowAssign::new(input, time?, columns.collect::<PlanResult<_>>()?, self.window)
            }
            _ => Err(plan_datafusion_err!("window function without time or input")),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.input.schema().fields().len();
        let time = self.input.schema().maybe_index_of_column(&self.time)?;
        let mut needed: Vec<usize> = output_columns.iter().copied().filter(|&i| i < width).collect();
        needed.push(time);
        for key in &self.keys {
            needed.push(self.input.schema().maybe_index_of_column(key)?);
        }
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

/// `plan` with every [`WindowAssign`] as plain projections, filters and unnests: what a batch engine can run.
/// It serves reads, and is the oracle that the operators are tested against.
pub fn expand_windows(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let expanded = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::Extension(extension) = &plan else { return Ok(Transformed::no(plan)) };
        let Some(assign) = extension.node.as_any().downcast_ref::<WindowAssign>() else {
            return Ok(Transformed::no(plan));
        };
        Ok(Transformed::yes(match assign.window {
            Window::Session { gap_us } => expand_session(assign, gap_us)?,
            Window::Tumble { .. } | Window::Hop { .. } | Window::Cumulate { .. } => expand(assign)?,
        }))
    })?;
    Ok(expanded.data)
}

fn expand(assign: &WindowAssign) -> PlanResult<LogicalPlan> {
    let time = Expr::Column(assign.time.clone());
    let function = |part| {
        Expr::ScalarFunction(datafusion::logical_expr::expr::ScalarFunction {
            func: Arc::new(ScalarUDF::new_from_impl(WindowPart { window: assign.window, part, signature: any_one() })),
            args: vec![match part {
                Part::End => Expr::Column(Column::new_unqualified(WINDOW_START)),
                Part::Start | Part::Starts | Part::Ends => time.clone(),
            }],
        })
    };
    let columns = || assign.input.schema().columns().into_iter().map(Expr::Column);
    let timed = LogicalPlanBuilder::from(assign.input.clone()).filter(time.clone().is_not_null())?;
    let options = UnnestOptions { null_handling: NullHandling::Drop, recursions: Vec::new() };
    let started = match assign.window {
        Window::Cumulate { .. } => {
            let end = Expr::Column(Column::new_unqualified(WINDOW_END));
            return timed
                .project(columns().chain([function(Part::Ends).alias(WINDOW_END)]))?
                .unnest_column_with_options(Column::new_unqualified(WINDOW_END), options)?
                .project(columns().chain([function(Part::Start).alias(WINDOW_START), end]))?
                .build();
        }
        Window::Tumble { .. } | Window::Session { .. } => {
            timed.project(columns().chain([function(Part::Start).alias(WINDOW_START)]))?
        }
        Window::Hop { .. } => timed
            .project(columns().chain([function(Part::Starts).alias(WINDOW_START)]))?
            .unnest_column_with_options(Column::new_unqualified(WINDOW_START), options)?,
    };
    let start = Expr::Column(Column::new_unqualified(WINDOW_START));
    started.project(columns().chain([start, function(Part::End).alias(WINDOW_END)]))?.build()
}

fn any_one() -> Signature {
    Signature::any(1, Volatility::Immutable)
}

/// Which part of a window a [`WindowPart`] computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Part {
    /// All starts of a time, as a list.
    Starts,
    /// The one start of a time.
    Start,
    /// The end of a start.
    End,
    /// All ends of a time, as a list.
    Ends,
}

/// The window arithmetic as a DataFusion function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowPart {
    window: Window,
    part: Part,
    signature: Signature,
}

impl WindowPart {
    /// The starts of all windows that hold `time`, smallest first; `None` if one does not fit into a timestamp.
    fn starts(&self, time: i64, starts: &mut Vec<i64>) -> Option<()> {
        let (slide, size, offset) = self.window.parts();
        let (time, slide, size, offset) = (i128::from(time), i128::from(slide), i128::from(size), i128::from(offset));
        let last = offset + (time - offset).div_euclid(slide) * slide;
        let mut start = offset + ((time - size - offset).div_euclid(slide) + 1) * slide;
        while start <= last {
            i64::try_from(start + size).ok()?;
            starts.push(i64::try_from(start).ok()?);
            start += slide;
        }
        Some(())
    }
}

impl WindowPart {
    /// The ends of all windows of CUMULATE that hold `time`, smallest first; `None` if one does not fit.
    fn ends(&self, time: i64, ends: &mut Vec<i64>) -> Option<()> {
        let Window::Cumulate { step_us, size_us, offset_us } = self.window else { return None };
        let (time, step, size, offset) =
            (i128::from(time), i128::from(step_us), i128::from(size_us), i128::from(offset_us));
        let start = offset + (time - offset).div_euclid(size) * size;
        i64::try_from(start).ok()?;
        let mut end = start + ((time - start).div_euclid(step) + 1) * step;
        while end <= start + size {
            ends.push(i64::try_from(end).ok()?);
            end += step;
        }
        Some(())
    }
}

impl ScalarUDFImpl for WindowPart {
    fn name(&self) -> &str {
        match self.part {
            Part::Starts => "__window_starts",
            Part::Ends => "__window_ends",
            Part::Start => "__window_start",
            Part::End => "__window_end",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> PlanResult<DataType> {
        let time = arguments.first().cloned().unwrap_or(DataType::Timestamp(TimeUnit::Microsecond, None));
        Ok(match self.part {
            Part::Starts | Part::Ends => DataType::List(Arc::new(Field::new_list_field(time, true))),
            Part::Start | Part::End => time,
        })
    }

    /// Times are not NULL where these functions are called, so neither are windows.
    fn return_field_from_args(&self, args: ReturnFieldArgs) -> PlanResult<Arc<Field>> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, matches!(self.part, Part::Starts | Part::Ends))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let argument = arrays.first().ok_or_else(|| plan_datafusion_err!("window function without argument"))?;
        let Some(times) = argument.as_primitive_opt::<TimestampMicrosecondType>() else {
            return Err(plan_datafusion_err!("window function over {}", argument.data_type()));
        };
        let out_of_range = || exec_datafusion_err!("window lies outside the range of timestamps");
        let typed = |values: TimestampMicrosecondArray| values.with_data_type(argument.data_type().clone());
        let mut starts = Vec::with_capacity(times.len());
        let mut offsets = vec![0i32];
        for row in 0..times.len() {
            let time = times.value(row);
            let valid = times.is_valid(row);
            match self.part {
                Part::End => starts.push(time.checked_add(self.window.parts().1).filter(|_| valid).unwrap_or(0)),
                Part::Start if !valid => starts.push(0),
                Part::Start => self.starts(time, &mut starts).ok_or_else(out_of_range)?,
                Part::Starts if valid => self.starts(time, &mut starts).ok_or_else(out_of_range)?,
                Part::Ends if valid => self.ends(time, &mut starts).ok_or_else(out_of_range)?,
                Part::Starts | Part::Ends => {}
            }
            offsets.push(i32::try_from(starts.len()).map_err(|_| out_of_range())?);
        }
        let array: ArrayRef = match self.part {
            Part::Start | Part::End => {
                Arc::new(typed(TimestampMicrosecondArray::new(starts.into(), times.nulls().cloned())))
            }
            Part::Starts | Part::Ends => {
                let field = Arc::new(Field::new_list_field(argument.data_type().clone(), true));
                let values = Arc::new(typed(TimestampMicrosecondArray::from(starts)));
                let nulls: Option<NullBuffer> = times.nulls().cloned();
                Arc::new(ListArray::try_new(field, OffsetBuffer::new(offsets.into()), values, nulls)?)
            }
        };
        Ok(ColumnarValue::Array(array))
    }
}
