//! The calls of one GROUP BY, compiled: what they compute of each row, and what they need beside an accumulator.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::BooleanBuffer;

use super::accumulators::Accumulators;
use super::call::AggregateCall;
use super::fold::{Fold, Folding};
use super::function::{AggregateFunction, Method};
use super::order::{ordered, ordered_type};
use super::state::State;
use crate::base::{Error, Result, sqlstate};
use crate::functions::compiled::Compiled;
use crate::functions::expr::Expr;
use crate::functions::fault::Faults;
use crate::functions::literal::{Literal, Value};
use crate::types::{RowCodec, Schema, SqlType};

/// What a call needs beside its accumulator. Kept rows are those of [`Arguments::columns`].
#[derive(Clone, Debug, PartialEq)]
pub enum Keeping {
    /// Nothing.
    Accumulator,
    /// A `Bag` table (group key, row) → weight. When a row's weight leaves or reaches zero, its appearance or
    /// disappearance is told to [`Accumulators::update_call`] with weight +1 or -1.
    Distinct {
        /// The types of the rows.
        row: Vec<SqlType>,
    },
    /// A `Bag` table (group key, row) → weight. [`Accumulators::update`] takes in insertions; a retraction of the
    /// row that the slot [holds](Accumulators::holds) needs the first (or last) row still present, told by
    /// [`Accumulators::replace`].
    Extreme {
        /// The types of the rows.
        row: Vec<SqlType>,
        /// Whether the last row is wanted.
        last: bool,
    },
    /// A `Bag` table (group key, row) → weight. Once per epoch, for each group that changed, all rows go in order
    /// through [`Aggregates::folding`], whose answers are told by [`Accumulators::replace`].
    Multiset {
        /// The types of the rows.
        row: Vec<SqlType>,
    },
}

impl Keeping {
    /// The types of the kept rows; `None` if there are none.
    pub fn row(&self) -> Option<&[SqlType]> {
        match self {
            Keeping::Accumulator => None,
            Keeping::Distinct { row } | Keeping::Extreme { row, .. } | Keeping::Multiset { row } => Some(row),
        }
    }
}

/// The calls of one GROUP BY, compiled.
#[derive(Clone, Debug)]
pub struct Aggregates {
    calls: Arc<Vec<Call>>,
}

/// One call, compiled.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub function: AggregateFunction,
    columns: Vec<ColumnOf>,
    /// Of the columns, those from here on must not be NULL for the row to count (as many as `strict` says).
    value: usize,
    strict: usize,
    filter: Option<Compiled>,
    /// What the columns and the filter were compiled from.
    read: Vec<(Expr, bool, bool)>,
    counted: Option<Expr>,
    /// The type of the first argument.
    pub argument_type: SqlType,
    pub ty: SqlType,
    pub keeping: Keeping,
    row: Vec<SqlType>,
    fold: Option<Fold>,
}

/// A column that a call reads: an argument, or what it orders by.
#[derive(Clone, Debug)]
struct ColumnOf {
    expr: Compiled,
    descending: bool,
    nulls_first: bool,
}

/// The arguments of all calls for one batch.
#[derive(Clone, Debug)]
pub struct Arguments {
    pub(super) rows: usize,
    pub(super) calls: Vec<Argument>,
    /// Rows for which an argument or FILTER could not be computed. They must not be given to
    /// [`Accumulators::update`]: take them out of the batch and compute the arguments again.
    pub faults: Option<Faults>,
}

#[derive(Clone, Debug)]
pub(super) struct Argument {
    pub columns: Vec<ArrayRef>,
    pub keep: Option<BooleanBuffer>,
    strict: std::ops::Range<usize>,
}

impl Arguments {
    /// The columns that call `call` reads, in the order in which its rows are kept; none for `count(*)`.
    pub fn columns(&self, call: usize) -> &[ArrayRef] {
        &self.calls[call].columns
    }

    /// Whether row `row` counts for call `call`: FILTER lets it pass and its arguments are not NULL.
    pub fn counts(&self, call: usize, row: usize) -> bool {
        let argument = &self.calls[call];
        argument.keep.as_ref().is_none_or(|keep| keep.value(row))
            && argument.columns[argument.strict.clone()].iter().all(|column| column.is_valid(row))
    }
}

impl Arguments {
    /// Lets only the rows of `keep` count, for all calls.
    pub(crate) fn restrict(&mut self, keep: &BooleanBuffer) {
        for argument in &mut self.calls {
            argument.keep = Some(argument.keep.take().map_or_else(|| keep.clone(), |mine| &mine & keep));
        }
    }
}

impl Aggregates {
    /// Compiles `calls` over rows of `input`; `append_only` promises that no weight is ever negative.
    pub fn new(calls: &[AggregateCall], input: &Schema, append_only: bool) -> Result<Aggregates> {
        let calls = calls.iter().map(|call| Call::new(call, input, append_only)).collect::<Result<_>>()?;
        Ok(Aggregates { calls: Arc::new(calls) })
    }

    /// What each call needs beside its accumulator.
    pub fn keeping(&self) -> Vec<Keeping> {
        self.calls.iter().map(|call| call.keeping.clone()).collect()
    }

    /// The first call that keeps the rows that `call` keeps (the same columns of the same rows): perhaps itself.
    pub fn keeps_as(&self, call: usize) -> usize {
        let mine = &self.calls[call];
        let same = |other: &Call| {
            other.keeping.row() == mine.keeping.row()
                && (other.value, other.strict) == (mine.value, mine.strict)
                && other.read == mine.read
                && other.counted == mine.counted
        };
        self.calls.iter().position(same).unwrap_or(call)
    }

    /// The type of each call's result.
    pub fn types(&self) -> Vec<SqlType> {
        self.calls.iter().map(|call| call.ty.clone()).collect()
    }

    /// Evaluates arguments and filters for a batch.
    pub fn arguments(&self, batch: &RecordBatch) -> Result<Arguments> {
        let mut faults = None;
        let mut calls = Vec::with_capacity(self.calls.len());
        for call in self.calls.iter() {
            let mut keep = None;
            if let Some(filter) = &call.filter {
                let (mask, found) = filter.evaluate_filter(batch)?;
                faults = Faults::union(faults, found);
                keep = Some(match mask.nulls() {
                    Some(nulls) => mask.values() & nulls.inner(),
                    None => mask.values().clone(),
                });
            }
            let mut columns = Vec::with_capacity(call.columns.len());
            for column in &call.columns {
                let evaluated = column.expr.evaluate(batch)?;
                faults = Faults::union(faults, kept_faults(evaluated.faults, keep.as_ref()));
                let ty = column.expr.ty();
                columns.push(ordered(&evaluated.values, ty, column.descending, column.nulls_first)?);
            }
            // The loops of one column look at its NULLs themselves.
            let strict = call.value..call.value + call.strict;
            if columns.len() > 1 {
                for nulls in columns[strict.clone()].iter().filter_map(|column| column.nulls()) {
                    keep = Some(keep.map_or_else(|| nulls.inner().clone(), |keep| &keep & nulls.inner()));
                }
            }
            calls.push(Argument { columns, keep, strict });
        }
        Ok(Arguments { rows: batch.num_rows(), calls, faults })
    }

    /// Accumulators without any slot.
    pub fn accumulators(&self) -> Accumulators {
        Accumulators::new(Arc::clone(&self.calls))
    }

    /// Works out answers of call `call`, which keeps a `Multiset`.
    pub fn folding(&self, call: usize) -> Result<Folding<'_>> {
        let call = &self.calls[call];
        match &call.fold {
            Some(fold) => Ok(Folding::new(fold, call.ty.clone())),
            None => Err(Error::internal(format!("aggregate {} is not worked out anew", call.function.name()))),
        }
    }

    /// Column `columns` of kept rows as [`Accumulators::holds`] and [`Accumulators::replace`] take them.
    pub fn edge(&self, call: usize, columns: &[ArrayRef]) -> Result<ArrayRef> {
        self.calls[call].edge(columns)
    }
}

/// Faults of an argument count only where FILTER is true.
fn kept_faults(faults: Option<Faults>, keep: Option<&BooleanBuffer>) -> Option<Faults> {
    let (Some(faults), Some(keep)) = (&faults, keep) else { return faults };
    let rows = faults.mask.len();
    Faults::new(rows, faults.iter().filter(|fault| keep.value(fault.row as usize)).cloned().collect())
}

impl Call {
    fn new(call: &AggregateCall, input: &Schema, append_only: bool) -> Result<Call> {
        let function = call.function;
        let types = call.args.iter().map(|arg| arg.ty(input)).collect::<Result<Vec<_>>>()?;
        let (ty, wanted) = (function.result_type(&types)?, function.argument_types(&types)?);
        if ty != call.ty {
            return Err(Error::internal(format!("aggregate {call} gives {ty}, its plan says {}", call.ty)));
        }
        let (mut columns, mut read) = (Vec::new(), Vec::new());
        if !function.is_ordered_set() && function.method() != Method::Sums {
            for order in &call.order {
                let expr = Compiled::new(&order.expr, input)?;
                columns.push(ColumnOf { expr, descending: order.descending, nulls_first: order.nulls_first });
                read.push((order.expr.clone(), order.descending, order.nulls_first));
            }
        }
        let value = columns.len();
        let args = if function.is_ordered_set() { 1 } else { call.args.len() };
        for (arg, wanted) in call.args.iter().zip(&wanted).take(args) {
            let arg = if arg.ty(input)? == *wanted { arg.clone() } else { arg.clone().cast(wanted.clone()) };
            columns.push(ColumnOf { expr: Compiled::new(&arg, input)?, descending: false, nulls_first: false });
            read.push((arg, false, false));
        }
        let strict = match function {
            _ if function.takes_null() => 0,
            AggregateFunction::StringAgg => 1,
            _ => args,
        };
        let row: Vec<SqlType> = columns
            .iter()
            .map(|column| ordered_type(column.expr.ty(), column.descending, column.nulls_first))
            .collect();
        let keeping = match function.method() {
            Method::Edge { .. } if append_only => Keeping::Accumulator,
            Method::Edge { last } => Keeping::Extreme { row: row.clone(), last },
            Method::Fold => Keeping::Multiset { row: row.clone() },
            Method::Sums if call.distinct && !function.ignores_distinct() => Keeping::Distinct { row: row.clone() },
            Method::Sums => Keeping::Accumulator,
        };
        let filter = call.filter.as_ref().map(|filter| Compiled::new(filter, input)).transpose()?;
        let argument_type = wanted.first().cloned().unwrap_or(SqlType::BigInt);
        let fold = Fold::of(call, &row, value)?;
        let counted = call.filter.clone();
        Ok(Call { function, columns, value, strict, filter, read, counted, argument_type, ty, keeping, row, fold })
    }

    pub fn state(&self) -> State {
        State::new(self.function, &self.argument_type, &self.ty, self.filter.is_some(), &self.row)
    }

    /// Kept rows as one column whose order is theirs: the value itself, or the rows' canonical bytes.
    pub fn edge(&self, columns: &[ArrayRef]) -> Result<ArrayRef> {
        match (self.function, columns) {
            (AggregateFunction::Min | AggregateFunction::Max, [value]) => Ok(Arc::clone(value)),
            _ => {
                let rows = columns.first().map_or(0, |column| column.len());
                let rows = RowCodec::new(self.row.clone()).encode_rows(columns, rows)?;
                Ok(Arc::new(BinaryArray::from_iter_values(rows.iter())))
            }
        }
    }
}

/// The fraction that an ordered-set aggregate was given; `None` for NULL.
pub(super) fn fraction(expr: Option<&Expr>) -> Result<Option<f64>> {
    let value = match expr {
        Some(Expr::Literal(Literal { value: Value::Null, .. })) => return Ok(None),
        Some(expr) if expr.columns().is_empty() => {
            let cast = Compiled::new(&expr.clone().cast(SqlType::Double), &Schema::default())?;
            let options = RecordBatchOptions::new().with_row_count(Some(1));
            let nothing = RecordBatch::try_new_with_options(Schema::default().arrow(), Vec::new(), &options)?;
            let value = cast.evaluate(&nothing)?.all()?;
            let value = value.as_primitive::<arrow::datatypes::Float64Type>();
            if value.is_null(0) {
                return Ok(None);
            }
            value.value(0)
        }
        Some(_) | None => {
            return Err(Error::unsupported("the fraction of a percentile must be a constant")
                .with_hint("Write a number between 0 and 1."));
        }
    };
    if (0.0..=1.0).contains(&value) {
        return Ok(Some(value));
    }
    Err(Error::invalid(format!("percentile value {value} is not between 0 and 1"))
        .with_code(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE)
        .with_hint("Write a number between 0 and 1."))
}
