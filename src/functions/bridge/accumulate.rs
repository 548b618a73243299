//! Our accumulators behind DataFusion's traits. The partial state of a group is its state row, or its rows, as bytes.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::udf::external;
use crate::functions::aggregate::{Accumulators, Aggregates, Arguments, Keeping};
use crate::types::{RowCodec, Weights};

/// A call as DataFusion's arguments describe it.
pub(super) mod one_call {
    use arrow::array::{RecordBatch, RecordBatchOptions};
    use arrow::datatypes::{DataType, Schema as ArrowSchema};
    use datafusion::error::Result;
    use datafusion::logical_expr::function::AccumulatorArgs;

    use super::super::udf::{external, literal_of};
    use crate::functions::aggregate::{AggregateCall, AggregateFunction, Order};
    use crate::functions::expr::{Expr, Test};
    use crate::types::{Column, Schema, SqlType};

    /// The call, and the schema of the columns that batches come with: its arguments, then what it orders by.
    pub struct Call {
        pub call: AggregateCall,
        pub input: Schema,
    }

    impl Call {
        /// `more` is an argument that the name of the function stands for.
        pub fn new(
            function: AggregateFunction,
            args: &AccumulatorArgs,
            distinct: bool,
            more: Option<Expr>,
        ) -> Result<Call> {
            let column = |ty: &DataType| Ok(Column::new("x", SqlType::from_arrow(ty).map_err(external)?));
            let mut columns =
                args.expr_fields.iter().map(|field| column(field.data_type())).collect::<Result<Vec<_>>>()?;
            let mut exprs: Vec<Expr> = (0..columns.len()).map(Expr::Column).collect();
            let mut order = Vec::new();
            for sort in args.order_bys {
                let (descending, nulls_first) = (sort.options.descending, sort.options.nulls_first);
                if function.is_ordered_set() {
                    order.push(Order { expr: Expr::Column(0), descending, nulls_first });
                } else {
                    order.push(Order { expr: Expr::Column(columns.len()), descending, nulls_first });
                    columns.push(column(&sort.expr.data_type(args.schema)?)?);
                }
            }
            if function.is_ordered_set() {
                for (i, expr) in exprs.iter_mut().enumerate().skip(1) {
                    *expr = constant(args, i)?;
                }
            }
            exprs.extend(more);
            let input = Schema::new(columns);
            let known = Expr::Is { expr: Box::new(Expr::Column(0)), test: Test::Null, negated: true };
            let filter = args.ignore_nulls.then_some(known);
            let mut call = AggregateCall::new(function, exprs, distinct, filter, &input).map_err(external)?;
            // Sums do not see what they were asked to order by.
            let columns = columns_of(args, function);
            if columns == args.expr_fields.len() && !function.is_ordered_set() {
                order.clear();
            }
            if distinct && !function.is_ordered_set() {
                same_columns(args, &mut order);
            }
            call = call.ordered_by(order);
            Ok(Call { call, input: Schema::new(input.columns[..columns].to_vec()) })
        }
    }

    /// How many columns a batch comes with.
    fn columns_of(args: &AccumulatorArgs, function: AggregateFunction) -> usize {
        use AggregateFunction::{ArrayAgg, FirstValue, LastValue, StringAgg};
        let ordered = matches!(function, FirstValue | LastValue | StringAgg | ArrayAgg);
        args.expr_fields.len() + if ordered { args.order_bys.len() } else { 0 }
    }

    /// Has ORDER BY name the arguments that it repeats.
    fn same_columns(args: &AccumulatorArgs, order: &mut [Order]) {
        for (order, sort) in order.iter_mut().zip(args.order_bys) {
            if let Some(i) = args.exprs.iter().position(|expr| expr == &sort.expr) {
                order.expr = Expr::Column(i);
            }
        }
    }

    /// Argument `i`, a constant.
    fn constant(args: &AccumulatorArgs, i: usize) -> Result<Expr> {
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let none = RecordBatch::try_new_with_options(std::sync::Arc::new(ArrowSchema::empty()), Vec::new(), &options)?;
        let not_constant = || {
            external(
                crate::base::Error::unsupported("the fraction of a percentile must be a constant")
                    .with_hint("Write a number between 0 and 1."),
            )
        };
        let value = args.exprs[i].evaluate(&none).map_err(|_| not_constant())?.into_array(1)?;
        let value = datafusion::common::ScalarValue::try_from_array(&value, 0)?;
        Ok(Expr::Literal(literal_of(&value).map_err(external)?))
    }
}

use one_call::Call;

/// Whether the call needs nothing but an accumulator.
pub(super) fn is_summed(call: &Call) -> crate::base::Result<bool> {
    Ok(Aggregates::new(std::slice::from_ref(&call.call), &call.input, true)?.keeping() == [Keeping::Accumulator])
}

/// A call ready to take in columns.
#[derive(Debug)]
pub(super) struct Ready {
    pub aggregates: Aggregates,
    schema: arrow::datatypes::SchemaRef,
}

impl Ready {
    pub fn new(call: &Call) -> crate::base::Result<Ready> {
        let aggregates = Aggregates::new(std::slice::from_ref(&call.call), &call.input, true)?;
        Ok(Ready { aggregates, schema: call.input.arrow() })
    }

    pub fn arguments(&self, columns: &[ArrayRef]) -> Result<Arguments> {
        let cast =
            |(column, field): (&ArrayRef, &arrow::datatypes::FieldRef)| match column.data_type() == field.data_type() {
                true => Ok(Arc::clone(column)),
                false => arrow::compute::cast(column, field.data_type()),
            };
        let columns = columns.iter().zip(self.schema.fields()).map(cast).collect::<Result<Vec<_>, _>>()?;
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        let mut arguments = self.aggregates.arguments(&batch).map_err(external)?;
        match arguments.faults.take() {
            Some(faults) => Err(external(faults.to_error())),
            None => Ok(arguments),
        }
    }
}

fn one(states: &[ArrayRef]) -> Result<&ArrayRef> {
    match states {
        [states] => Ok(states),
        other => datafusion::common::internal_err!("aggregate was given {} states", other.len()),
    }
}

/// Rows that an optional filter lets pass.
fn keep(filter: Option<&BooleanArray>) -> Option<BooleanBuffer> {
    filter.map(|filter| match filter.nulls() {
        Some(nulls) => filter.values() & nulls.inner(),
        None => filter.values().clone(),
    })
}

fn finish(accumulators: &Accumulators, to: usize) -> Result<ArrayRef> {
    let mut results = accumulators.finish(0, to).map_err(external)?;
    match results.pop() {
        Some(result) => result.all().map_err(external),
        None => datafusion::common::internal_err!("aggregate without a call"),
    }
}

fn encode(accumulators: &Accumulators, to: usize) -> BinaryArray {
    let mut states = BinaryBuilder::with_capacity(to, to * 16);
    let mut buffer = Vec::new();
    for slot in 0..to {
        buffer.clear();
        accumulators.encode(slot, &mut buffer);
        states.append_value(&buffer);
    }
    states.finish()
}

/// Accumulators of many groups.
pub(super) struct Grouped {
    ready: Ready,
    accumulators: Accumulators,
    groups: Vec<u32>,
}

impl Grouped {
    pub fn new(call: &Call) -> crate::base::Result<Grouped> {
        let ready = Ready::new(call)?;
        let accumulators = ready.aggregates.accumulators();
        Ok(Grouped { ready, accumulators, groups: Vec::new() })
    }

    fn take_groups(&mut self, indices: &[usize], total: usize) -> Vec<u32> {
        if self.accumulators.len() < total {
            self.accumulators.resize(total);
        }
        let mut groups = mem::take(&mut self.groups);
        groups.clear();
        groups.extend(indices.iter().map(|&index| index as u32));
        groups
    }

    fn emit<T>(&mut self, to: EmitTo, take: impl Fn(&Accumulators, usize) -> Result<T>) -> Result<T> {
        let count = match to {
            EmitTo::All => self.accumulators.len(),
            EmitTo::First(count) => count,
        };
        let taken = take(&self.accumulators, count)?;
        match to {
            EmitTo::All => self.accumulators = self.ready.aggregates.accumulators(),
            EmitTo::First(count) => self.accumulators.forget_first(count),
        }
        Ok(taken)
    }

    fn arguments(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Arguments> {
        let mut arguments = self.ready.arguments(values)?;
        if let Some(keep) = keep(filter) {
            arguments.restrict(&keep);
        }
        Ok(arguments)
    }
}

impl GroupsAccumulator for Grouped {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let arguments = self.arguments(values, opt_filter)?;
        let groups = self.take_groups(group_indices, total_num_groups);
        let added = self.accumulators.update(&arguments, &groups, &Weights::Ones);
        self.groups = groups;
        added.map_err(external)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.emit(emit_to, finish)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.emit(emit_to, |accumulators, count| Ok(vec![Arc::new(encode(accumulators, count)) as ArrayRef]))
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        let states = one(values)?.as_binary::<i32>();
        let groups = self.take_groups(group_indices, total_num_groups);
        let mut partial = self.ready.aggregates.accumulators();
        for state in states.iter().flatten() {
            partial.decode(state).map_err(external)?;
        }
        let merged = match states.null_count() {
            0 => self.accumulators.merge(&partial, &groups),
            _ => {
                let present = groups.iter().enumerate().filter(|(row, _)| states.is_valid(*row));
                self.accumulators.merge(&partial, &present.map(|(_, &group)| group).collect::<Vec<_>>())
            }
        };
        self.groups = groups;
        merged.map_err(external)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let arguments = self.arguments(values, opt_filter)?;
        let count = values.first().map_or(0, |column| column.len());
        let mut rows = self.ready.aggregates.accumulators();
        rows.resize(count);
        let groups: Vec<u32> = (0..count as u32).collect();
        rows.update(&arguments, &groups, &Weights::Ones).map_err(external)?;
        Ok(vec![Arc::new(encode(&rows, count))])
    }

    fn size(&self) -> usize {
        self.accumulators.bytes() + self.groups.capacity() * 4
    }
}

/// An accumulator whose result is of another Arrow type than our SQL type has.
#[derive(Debug)]
pub(super) struct Shown {
    pub inner: Box<dyn Accumulator>,
    pub to: DataType,
}

impl Accumulator for Shown {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.inner.evaluate()?.cast_to(&self.to)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}

/// The accumulator of one group.
#[derive(Debug)]
pub(super) struct Single {
    ready: Ready,
    accumulators: Accumulators,
    /// Whether what was added can be taken back.
    retracts: bool,
}

impl Single {
    pub fn new(call: &Call) -> crate::base::Result<Single> {
        let ready = Ready::new(call)?;
        let mut accumulators = ready.aggregates.accumulators();
        accumulators.resize(1);
        let revised = Aggregates::new(std::slice::from_ref(&call.call), &call.input, false)?;
        let retracts = revised.keeping() == [Keeping::Accumulator];
        Ok(Single { ready, accumulators, retracts })
    }

    fn add(&mut self, values: &[ArrayRef], weight: i64) -> Result<()> {
        let arguments = self.ready.arguments(values)?;
        let count = values.first().map_or(0, |column| column.len());
        let weights = Weights::from_vec(vec![weight; count]);
        self.accumulators.update(&arguments, &vec![0; count], &weights).map_err(external)
    }
}

impl Accumulator for Single {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values, 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&finish(&self.accumulators, 1)?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.accumulators.bytes()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut bytes = Vec::new();
        self.accumulators.encode(0, &mut bytes);
        Ok(vec![ScalarValue::Binary(Some(bytes))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let mut partial = self.ready.aggregates.accumulators();
        for state in one(states)?.as_binary::<i32>().iter().flatten() {
            partial.decode(state).map_err(external)?;
        }
        self.accumulators.merge(&partial, &vec![0; partial.len()]).map_err(external)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values, -1)
    }

    fn supports_retract_batch(&self) -> bool {
        self.retracts
    }
}

/// The accumulator of one group that keeps its rows: of DISTINCT, and of what is worked out from all of them.
#[derive(Debug)]
pub(super) struct Collected {
    ready: Ready,
    codec: RowCodec,
    folds: bool,
    rows: BTreeMap<Box<[u8]>, i64>,
    bytes: usize,
}

impl Collected {
    pub fn new(call: &Call) -> crate::base::Result<Collected> {
        let ready = Ready::new(call)?;
        let (row, folds) = match ready.aggregates.keeping().pop() {
            Some(Keeping::Multiset { row }) => (row, true),
            Some(Keeping::Distinct { row } | Keeping::Extreme { row, .. }) => (row, false),
            Some(Keeping::Accumulator) | None => (Vec::new(), false),
        };
        Ok(Collected { ready, codec: RowCodec::new(row), folds, rows: BTreeMap::new(), bytes: 0 })
    }

    fn add(&mut self, row: &[u8], weight: i64) {
        match self.rows.get_mut(row) {
            Some(sum) => {
                *sum += weight;
                if *sum == 0 {
                    self.rows.remove(row);
                    self.bytes -= row.len();
                }
            }
            None => {
                self.bytes += row.len();
                self.rows.insert(row.into(), weight);
            }
        }
    }

    fn add_all(&mut self, values: &[ArrayRef], weight: i64) -> Result<()> {
        let arguments = self.ready.arguments(values)?;
        let count = values.first().map_or(0, |column| column.len());
        let rows = self.codec.encode_rows(arguments.columns(0), count).map_err(external)?;
        for (_, row) in rows.iter().enumerate().filter(|(row, _)| arguments.counts(0, *row)) {
            self.add(row, weight);
        }
        Ok(())
    }
}

impl Accumulator for Collected {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add_all(values, 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let aggregates = &self.ready.aggregates;
        if self.folds {
            let mut folding = aggregates.folding(0).map_err(external)?;
            folding.group(self.rows.iter().map(|(row, weight)| (&**row, *weight))).map_err(external)?;
            return ScalarValue::try_from_array(&folding.finish().map_err(external)?, 0);
        }
        let mut accumulators = aggregates.accumulators();
        accumulators.resize(1);
        let columns = self.codec.decode(self.rows.keys().map(|row| &**row)).map_err(external)?;
        let groups = vec![0; self.rows.len()];
        accumulators.update_call(0, &columns, &groups, &Weights::Ones).map_err(external)?;
        ScalarValue::try_from_array(&finish(&accumulators, 1)?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.bytes + self.rows.len() * 48
    }

    /// Per row its length (8 bytes), its weight (8), and the row; numbers little-endian.
    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut state = Vec::with_capacity(self.bytes + 16 * self.rows.len());
        for (row, weight) in &self.rows {
            state.extend_from_slice(&(row.len() as u64).to_le_bytes());
            state.extend_from_slice(&weight.to_le_bytes());
            state.extend_from_slice(row);
        }
        Ok(vec![ScalarValue::Binary(Some(state))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for state in one(states)?.as_binary::<i32>().iter().flatten() {
            let mut rest = state;
            while let Some((length, tail)) = rest.split_first_chunk::<8>() {
                let length = u64::from_le_bytes(*length) as usize;
                let row = tail.split_first_chunk::<8>().and_then(|(weight, tail)| {
                    let (row, tail) = tail.split_at_checked(length)?;
                    Some((row, i64::from_le_bytes(*weight), tail))
                });
                let Some((row, weight, tail)) = row else {
                    return datafusion::common::internal_err!("the state of an aggregate is torn");
                };
                self.add(row, weight);
                rest = tail;
            }
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add_all(values, -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }
}
