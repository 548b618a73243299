//! `chain`: a fused chain of stateless steps: filter, project, repeat, unnest, TUMBLE, HOP and CUMULATE, over whole columns.
//!
//! A row whose expression faults leaves the chain: port 2 gets the reason and the chain's **input** row, with its weight,
//! so that a retraction of the row takes the fault back. A row that HOP or UNNEST has spread faults once per row it became.

use std::fmt::{self, Write};
use std::sync::Arc;

use arrow::array::TimestampMicrosecondArray;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Int64Type, IntervalMonthDayNano, SchemaRef, TimestampMicrosecondType};
use serde::{Deserialize, Serialize};

use super::faults::fault_batch;
use super::spec::Door;
use super::{EpochEnd, FAULT_PORT, Flow, MAIN_PORT, Operator, Output, SLICE_ROWS};
use crate::base::{Error, Result};
use crate::functions::{Compiled, Evaluated, Expr, Named, write_interval};
use crate::state::OperatorState;
use crate::types::{Column, DeltaBatch, Schema, SqlType, Weights};

mod unnest;
mod window;
use unnest::{Spread, spread};
use window::{Assigned, Windows};

#[cfg(test)]
mod tests;

/// How many elements a list is guessed to have when work is cut into slices.
const ELEMENTS_GUESSED: usize = 16;

/// A fused chain of stateless steps. Without steps it passes rows on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChainSpec {
    /// The schema of the input.
    pub input: Schema,
    /// The steps, first to last; each sees the columns that the one before it left.
    pub steps: Vec<Step>,
}

/// One step of a chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// Keeps the rows for which the boolean is true; NULL counts as false.
    Filter(Expr),
    /// Makes these columns of each row: name and value.
    Project(Vec<(String, Expr)>),
    /// Keeps each row so many times (a bigint): its weight is multiplied. NULL and numbers below 1: not at all.
    Repeat(Expr),
    /// Appends a column for each of these arrays, and gives each row once per element of the longest: not at all if all
    /// are empty or NULL. Behind the end of a shorter one stand NULLs.
    Unnest(Vec<(String, Expr)>),
    /// Appends `window_start` and `window_end` (exclusive), of the type of the time column. A row whose time is NULL
    /// belongs to no window and goes nowhere.
    Tumble {
        /// The column of the event time, a timestamp.
        time: usize,
        /// Length of a window, above 0.
        size_us: i64,
        /// Windows start at `offset_us + k · size_us` since 1970.
        offset_us: i64,
    },
    /// As `Tumble`, once for every window the row is in.
    Hop {
        /// The column of the event time, a timestamp.
        time: usize,
        /// Distance of window starts, above 0.
        slide_us: i64,
        /// Length of a window, above 0.
        size_us: i64,
        /// Windows start at `offset_us + k · slide_us` since 1970.
        offset_us: i64,
    },
    /// As `Tumble`, once for each of the windows of one start that end behind the row.
    Cumulate {
        /// The column of the event time, a timestamp.
        time: usize,
        /// How much longer each window of a start is than the one before; it divides the size.
        step_us: i64,
        /// Length of the longest window, above 0.
        size_us: i64,
        /// Windows start at `offset_us + k · size_us` since 1970.
        offset_us: i64,
    },
}

impl Step {
    /// The schema after this step over rows of `input`.
    fn output(&self, input: &Schema) -> Result<Schema> {
        match self {
            Step::Filter(_) | Step::Repeat(_) => Ok(input.clone()),
            Step::Project(columns) => {
                let column = |(name, expr): &(String, Expr)| {
                    let nullable = match expr {
                        Expr::Column(i) => input.columns.get(*i).is_none_or(|column| column.nullable),
                        _ => true,
                    };
                    Ok(Column { name: name.clone(), ty: expr.ty(input)?, nullable })
                };
                Ok(Schema::new(columns.iter().map(column).collect::<Result<_>>()?))
            }
            Step::Unnest(lists) => {
                let mut columns = input.columns.clone();
                for (name, list) in lists {
                    columns.push(Column { name: name.clone(), ty: element_type(list, input)?, nullable: true });
                }
                Ok(Schema::new(columns))
            }
            Step::Tumble { time, .. } | Step::Hop { time, .. } | Step::Cumulate { time, .. } => {
                let ty = time_type(*time, input)?;
                let mut columns = input.columns.clone();
                columns.push(Column { name: "window_start".into(), ty: ty.clone(), nullable: false });
                columns.push(Column { name: "window_end".into(), ty, nullable: false });
                Ok(Schema::new(columns))
            }
        }
    }

    /// For EXPLAIN.
    fn describe(&self, input: &Schema, text: &mut String) {
        let name = |i: &usize| input.columns.get(*i).map_or("?", |column| column.name.as_str());
        // Writing to a string cannot fail.
        let _ = match self {
            Step::Filter(expr) => write!(text, "filter {}", Named { expr, input }),
            Step::Repeat(times) => write!(text, "repeat {}", Named { expr: times, input }),
            Step::Unnest(lists) => {
                let list = |(name, expr): &(String, Expr)| format!("{name} of {}", Named { expr, input });
                let lists: Vec<String> = lists.iter().map(list).collect();
                write!(text, "unnest {}", lists.join(", "))
            }
            Step::Project(columns) => {
                let column = |(name, expr): &(String, Expr)| match (Named { expr, input }).to_string() {
                    text if text == *name => text,
                    text => format!("{name} = {text}"),
                };
                let columns: Vec<String> = columns.iter().map(column).collect();
                write!(text, "project {}", columns.join(", "))
            }
            Step::Tumble { time, size_us, offset_us } => {
                write!(text, "tumble {} size {}{}", name(time), Span(*size_us), Offset(*offset_us))
            }
            Step::Hop { time, slide_us, size_us, offset_us } => {
                write!(
                    text,
                    "hop {} slide {} size {}{}",
                    name(time),
                    Span(*slide_us),
                    Span(*size_us),
                    Offset(*offset_us)
                )
            }
            Step::Cumulate { time, step_us, size_us, offset_us } => {
                let (step, size) = (Span(*step_us), Span(*size_us));
                write!(text, "cumulate {} step {step} size {size}{}", name(time), Offset(*offset_us))
            }
        };
    }
}

/// A length of time, for EXPLAIN.
struct Span(i64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY_US: i64 = 86_400_000_000;
        let nanoseconds = (self.0 % DAY_US) * 1000;
        let days = i32::try_from(self.0 / DAY_US).unwrap_or(i32::MAX);
        write_interval(IntervalMonthDayNano::new(0, days, nanoseconds), f)
    }
}

/// An offset of windows, for EXPLAIN: nothing where there is none.
struct Offset(i64);

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(f, " offset {}", Span(self.0)) }
    }
}

/// The type of the elements of `list`.
fn element_type(list: &Expr, input: &Schema) -> Result<SqlType> {
    match list.ty(input)? {
        SqlType::Array(element) => Ok(*element),
        other => Err(Error::internal(format!("UNNEST of a {other}"))),
    }
}

fn time_type(time: usize, input: &Schema) -> Result<SqlType> {
    match input.columns.get(time) {
        Some(column) if column.ty.is_timestamp() => Ok(column.ty.clone()),
        Some(column) => Err(Error::invalid(format!(
            "window functions need a timestamp; column \"{}\" is of type {}",
            column.name, column.ty
        ))
        .with_hint("Cast it to TIMESTAMP.")),
        None => Err(Error::internal(format!("window over column {time} of {}", input.columns.len()))),
    }
}

impl ChainSpec {
    /// The schema before each step, and after the last.
    fn schemas(&self) -> Result<Vec<Schema>> {
        let mut schemas = vec![self.input.clone()];
        let mut schema = self.input.clone();
        for step in &self.steps {
            schema = step.output(&schema)?;
            schemas.push(schema.clone());
        }
        Ok(schemas)
    }

    /// The schema of port 0.
    pub(super) fn output(&self) -> Result<Schema> {
        self.steps.iter().try_fold(self.input.clone(), |schema, step| step.output(&schema))
    }

    /// The steps for EXPLAIN, one after another.
    pub(super) fn detail(&self) -> String {
        let mut text = String::new();
        let mut schema = self.input.clone();
        for step in &self.steps {
            if !text.is_empty() {
                text.push_str("; ");
            }
            step.describe(&schema, &mut text);
            match step.output(&schema) {
                Ok(next) => schema = next,
                Err(_) => break,
            }
        }
        text
    }

    pub(super) fn build(&self) -> Result<Chain> {
        let schemas = self.schemas()?;
        let mut steps = Vec::with_capacity(self.steps.len());
        let mut per_row = 1usize;
        for (step, ends) in self.steps.iter().zip(schemas.windows(2)) {
            let step = compile(step, &ends[0], &ends[1])?;
            match &step {
                Work::Window { windows, .. } => per_row = per_row.saturating_mul(windows.per_row_max()),
                Work::Unnest { .. } => per_row = per_row.saturating_mul(ELEMENTS_GUESSED),
                Work::Filter(_) | Work::Repeat(_) | Work::Project { .. } => {}
            }
            steps.push(step);
        }
        let slice = if per_row == 1 { usize::MAX } else { (4 * SLICE_ROWS / per_row).max(1) };
        Ok(Chain { door: Door::new("chain", &self.input), steps, slice, next: 0 })
    }
}

fn compile(step: &Step, input: &Schema, output: &Schema) -> Result<Work> {
    Ok(match step {
        Step::Filter(expr) => Work::Filter(Compiled::new(expr, input)?),
        Step::Repeat(times) => {
            let times = Compiled::new(times, input)?;
            if *times.ty() != SqlType::BigInt {
                return Err(Error::internal(format!("rows repeated by a {}, not a bigint", times.ty())));
            }
            Work::Repeat(times)
        }
        Step::Unnest(lists) => {
            let lists = lists.iter().map(|(_, list)| Compiled::new(list, input)).collect::<Result<_>>()?;
            Work::Unnest { lists, schema: output.arrow() }
        }
        Step::Project(columns) => {
            let exprs = columns.iter().map(|(_, expr)| Compiled::new(expr, input)).collect::<Result<_>>()?;
            Work::Project { exprs, schema: output.arrow() }
        }
        Step::Tumble { time, size_us, offset_us } => {
            let windows = Windows::new(*size_us, *size_us, *offset_us)?;
            Work::Window { windows, time: *time, schema: output.arrow() }
        }
        Step::Hop { time, slide_us, size_us, offset_us } => {
            let windows = Windows::new(*slide_us, *size_us, *offset_us)?;
            Work::Window { windows, time: *time, schema: output.arrow() }
        }
        Step::Cumulate { time, step_us, size_us, offset_us } => {
            let windows = Windows::cumulate(*step_us, *size_us, *offset_us)?;
            Work::Window { windows, time: *time, schema: output.arrow() }
        }
    })
}

/// A step, compiled.
enum Work {
    Filter(Compiled),
    Repeat(Compiled),
    Unnest { lists: Vec<Compiled>, schema: SchemaRef },
    Project { exprs: Vec<Compiled>, schema: SchemaRef },
    Window { windows: Windows, time: usize, schema: SchemaRef },
}

/// The chain at work.
pub(super) struct Chain {
    door: Door,
    steps: Vec<Work>,
    /// Input rows per slice, so that HOP cannot build an unbounded batch.
    slice: usize,
    /// The first input row that the open call has not done yet.
    next: usize,
}

impl Operator for Chain {
    fn on_delta(&mut self, _: usize, batch: &DeltaBatch, _: &mut OperatorState, out: &mut Output) -> Result<Flow> {
        self.door.check(&batch.rows)?;
        let length = self.slice.min(batch.len() - self.next);
        let slice = batch.slice(self.next, length);
        let run = Run::new(&slice, false).through(&self.steps)?;
        // Which input row a row came from is followed only once a fault asks for it: the second time round.
        let run = if run.faults.is_empty() { run } else { Run::new(&slice, true).through(&self.steps)? };
        if !run.faults.is_empty() {
            out.emit(FAULT_PORT, run.fault_rows(&slice)?);
        }
        out.emit(MAIN_PORT, run.batch);
        self.next += length;
        if self.next < batch.len() {
            return Ok(Flow::More);
        }
        self.next = 0;
        Ok(Flow::Done)
    }

    fn on_epoch_end(&mut self, _: &EpochEnd, _: &mut OperatorState, _: &mut Output) -> Result<Flow> {
        Ok(Flow::Done)
    }
}

/// Rows on their way through the steps.
struct Run {
    batch: DeltaBatch,
    /// For each row the input row it came from, if followed.
    origin: Option<Vec<u64>>,
    /// Input row (if followed), reason and weight of each fault.
    faults: Vec<(u64, String, i64)>,
}

impl Run {
    fn new(batch: &DeltaBatch, follow: bool) -> Run {
        let origin = follow.then(|| (0..batch.len() as u64).collect());
        Run { batch: batch.clone(), origin, faults: Vec::new() }
    }

    /// Through all steps; stops at the first fault unless origins are followed.
    fn through(mut self, steps: &[Work]) -> Result<Run> {
        for step in steps {
            if self.batch.is_empty() || (self.origin.is_none() && !self.faults.is_empty()) {
                break;
            }
            match step {
                Work::Filter(condition) => self.filter(condition)?,
                Work::Repeat(times) => self.repeat(times)?,
                Work::Unnest { lists, schema } => self.unnest(lists, schema)?,
                Work::Project { exprs, schema } => self.project(exprs, schema)?,
                Work::Window { windows, time, schema } => self.window(windows, *time, schema)?,
            }
        }
        // An empty batch may still have the schema of an earlier step; it is never emitted.
        Ok(self)
    }

    fn filter(&mut self, condition: &Compiled) -> Result<()> {
        let (values, faults) = condition.evaluate_filter(&self.batch.rows)?;
        let mut kept = match values.nulls() {
            Some(nulls) => values.values() & nulls.inner(),
            None => values.values().clone(),
        };
        if let Some(faults) = &faults {
            kept = &kept & &!&faults.mask;
            for row in faults.mask.set_indices() {
                self.fault(row, faults.reason(row).to_owned());
            }
        }
        self.keep(&kept)
    }

    fn repeat(&mut self, times: &Compiled) -> Result<()> {
        let Evaluated { values, faults } = times.evaluate(&self.batch.rows)?;
        let times = values.as_primitive::<Int64Type>();
        let mut kept = BooleanBuffer::collect_bool(times.len(), |row| times.is_valid(row) && times.value(row) > 0);
        if let Some(faults) = &faults {
            kept = &kept & &!&faults.mask;
            for row in faults.mask.set_indices() {
                self.fault(row, faults.reason(row).to_owned());
            }
        }
        let weight = |row: usize| self.batch.weights.get(row).checked_mul(times.value(row));
        let weights: Option<Vec<i64>> = kept.set_indices().map(weight).collect();
        let weights = weights.ok_or_else(|| {
            Error::limit("a row repeated by INTERSECT ALL or EXCEPT ALL is present more than 9223372036854775807 times")
        })?;
        self.keep(&kept)?;
        self.batch.weights = Weights::from_vec(weights);
        Ok(())
    }

    fn project(&mut self, exprs: &[Compiled], schema: &SchemaRef) -> Result<()> {
        let (columns, faulty) = self.evaluate(exprs)?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.batch.len()));
        self.batch.rows = RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns, &options)?;
        match faulty {
            Some(faulty) => self.keep(&!&faulty),
            None => Ok(()),
        }
    }

    /// The values of `exprs`; rows in which any faults are noted and told, not yet taken out.
    fn evaluate(&mut self, exprs: &[Compiled]) -> Result<(Vec<ArrayRef>, Option<BooleanBuffer>)> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(exprs.len());
        let mut faulty: Option<BooleanBuffer> = None;
        for expr in exprs {
            let Evaluated { values, faults } = expr.evaluate(&self.batch.rows)?;
            columns.push(values);
            let Some(faults) = faults else { continue };
            // The first column that faults names the reason.
            for row in faults.mask.set_indices() {
                if !faulty.as_ref().is_some_and(|seen| seen.value(row)) {
                    self.fault(row, faults.reason(row).to_owned());
                }
            }
            faulty = Some(faulty.map_or_else(|| faults.mask.clone(), |seen| &seen | &faults.mask));
        }
        Ok((columns, faulty))
    }

    fn unnest(&mut self, lists: &[Compiled], schema: &SchemaRef) -> Result<()> {
        let (mut lists, faulty) = self.evaluate(lists)?;
        if let Some(faulty) = faulty {
            let kept = !&faulty;
            let mask = BooleanArray::new(kept.clone(), None);
            lists = lists.iter().map(|list| arrow::compute::filter(list, &mask)).collect::<Result<_, _>>()?;
            self.keep(&kept)?;
        }
        let lists: Vec<&ListArray> = lists.iter().map(|list| list.as_list()).collect();
        let Spread { rows, elements } = spread(&lists, self.batch.len())?;
        self.take(&rows)?;
        let columns = self.batch.rows.columns().iter().cloned().chain(elements).collect();
        self.batch.rows = RecordBatch::try_new(SchemaRef::clone(schema), columns)?;
        Ok(())
    }

    fn window(&mut self, windows: &Windows, time: usize, schema: &SchemaRef) -> Result<()> {
        let column = Arc::clone(self.batch.rows.column(time));
        let Assigned { starts, ends, rows, faults } = windows.assign(column.as_primitive::<TimestampMicrosecondType>());
        for row in faults {
            self.fault(row, "timestamp out of range".to_owned());
        }
        if let Some(rows) = rows {
            self.take(&rows)?;
        }
        let mut columns = self.batch.rows.columns().to_vec();
        for bounds in [starts, ends] {
            let bounds = TimestampMicrosecondArray::from(bounds).with_data_type(column.data_type().clone());
            columns.push(Arc::new(bounds));
        }
        self.batch.rows = RecordBatch::try_new(SchemaRef::clone(schema), columns)?;
        Ok(())
    }

    /// Notes that row `row` faulted; the caller takes it out of the rows.
    fn fault(&mut self, row: usize, reason: String) {
        let origin = self.origin.as_ref().map_or(0, |origin| origin[row]);
        self.faults.push((origin, reason, self.batch.weights.get(row)));
    }

    fn keep(&mut self, kept: &BooleanBuffer) -> Result<()> {
        if kept.count_set_bits() == kept.len() {
            return Ok(());
        }
        if let Some(origin) = &mut self.origin {
            *origin = kept.set_indices().map(|row| origin[row]).collect();
        }
        self.batch = self.batch.filter(&BooleanArray::new(kept.clone(), None))?;
        Ok(())
    }

    fn take(&mut self, rows: &[u64]) -> Result<()> {
        if let Some(origin) = &mut self.origin {
            *origin = rows.iter().map(|&row| origin[row as usize]).collect();
        }
        self.batch = self.batch.take(rows)?;
        Ok(())
    }

    fn fault_rows(&self, input: &DeltaBatch) -> Result<DeltaBatch> {
        let origins = UInt64Array::from_iter_values(self.faults.iter().map(|fault| fault.0));
        let rows = arrow::compute::take_record_batch(&input.rows, &origins)?;
        let reasons = self.faults.iter().map(|fault| fault.1.clone()).collect();
        fault_batch(&rows, reasons, self.faults.iter().map(|fault| fault.2).collect())
    }
}
