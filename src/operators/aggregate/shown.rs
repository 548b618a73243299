//! From accumulators to rows: what a group shows, and the change from what it showed before.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::compute::{concat, take_arrays};
use arrow::datatypes::SchemaRef;

use crate::base::Result;
use crate::functions::{Accumulators, Evaluated};
use crate::operators::faults::fault_batch;
use crate::operators::{FAULT_PORT, MAIN_PORT, Output};
use crate::types::{DeltaBatch, EncodedRows, RowCodec, Schema};

/// Makes rows of group keys and results.
pub(super) struct Showing {
    keys: Schema,
    key_codec: RowCodec,
    call_codec: RowCodec,
    output: SchemaRef,
}

/// The results of some groups.
struct Results {
    columns: Vec<ArrayRef>,
    /// The columns as canonical bytes, to compare.
    encoded: EncodedRows,
    /// Why a group has no result; empty when all have.
    reasons: Vec<Option<String>>,
}

impl Results {
    fn reason(&self, slot: usize) -> Option<&str> {
        self.reasons.get(slot).and_then(Option::as_deref)
    }

    /// Whether a group shows the same in both.
    fn same(&self, other: &Results, slot: usize) -> bool {
        match (self.reason(slot), other.reason(slot)) {
            (None, None) => self.encoded.row(slot) == other.encoded.row(slot),
            (mine, theirs) => mine == theirs,
        }
    }
}

/// Rows to emit: (slot, from the new results?, weight).
type Picks = Vec<(usize, bool, i64)>;

impl Showing {
    pub fn new(keys: Schema, output: &Schema) -> Showing {
        let types = output.types();
        let (key_types, call_types) = types.split_at(keys.columns.len());
        Showing {
            key_codec: RowCodec::new(key_types.to_vec()),
            call_codec: RowCodec::new(call_types.to_vec()),
            keys,
            output: output.arrow(),
        }
    }

    /// Emits, per group that `was` or `is` there, the change from `old` to `new`; nothing where there is none.
    pub fn changes(
        &self,
        keys: &EncodedRows,
        (old, was): (&Accumulators, &[bool]),
        (new, is): (&Accumulators, &[bool]),
        out: &mut Output,
    ) -> Result<()> {
        let (old, new) = (self.results(old)?, self.results(new)?);
        let mut picks = Vec::new();
        for slot in 0..keys.len() {
            if was[slot] && is[slot] && old.same(&new, slot) {
                continue;
            }
            if was[slot] {
                picks.push((slot, false, -1));
            }
            if is[slot] {
                picks.push((slot, true, 1));
            }
        }
        self.emit(keys, Some(&old), &new, picks, out)
    }

    /// Emits every group that `is` there.
    pub fn insertions(&self, keys: &EncodedRows, new: &Accumulators, is: &[bool], out: &mut Output) -> Result<()> {
        let picks = (0..keys.len()).filter(|&slot| is[slot]).map(|slot| (slot, true, 1)).collect();
        self.emit(keys, None, &self.results(new)?, picks, out)
    }

    fn results(&self, groups: &Accumulators) -> Result<Results> {
        let mut columns = Vec::new();
        let mut reasons: Vec<Option<String>> = Vec::new();
        for Evaluated { values, faults } in groups.finish(0, groups.len())? {
            columns.push(values);
            let Some(faults) = faults else { continue };
            reasons.resize(groups.len(), None);
            for fault in faults.mask.set_indices() {
                reasons[fault].get_or_insert_with(|| faults.reason(fault).to_owned());
            }
        }
        let encoded = self.call_codec.encode_rows(&columns, groups.len())?;
        Ok(Results { columns, encoded, reasons })
    }

    fn emit(
        &self,
        keys: &EncodedRows,
        old: Option<&Results>,
        new: &Results,
        picks: Picks,
        out: &mut Output,
    ) -> Result<()> {
        if picks.is_empty() {
            return Ok(());
        }
        let reason = |&(slot, is_new, _): &(usize, bool, i64)| {
            if is_new { new.reason(slot) } else { old.and_then(|old| old.reason(slot)) }
        };
        let (good, faulty): (Picks, Picks) = picks.into_iter().partition(|pick| reason(pick).is_none());
        let key_columns = self.key_codec.decode(keys.iter())?;
        if !faulty.is_empty() {
            let reasons = faulty.iter().filter_map(|pick| reason(pick).map(str::to_owned)).collect();
            let slots = UInt64Array::from_iter_values(faulty.iter().map(|pick| pick.0 as u64));
            let options = RecordBatchOptions::new().with_row_count(Some(faulty.len()));
            let columns = take_arrays(&key_columns, &slots, None)?;
            let rows = RecordBatch::try_new_with_options(self.keys.arrow(), columns, &options)?;
            out.emit(FAULT_PORT, fault_batch(&rows, reasons, faulty.iter().map(|pick| pick.2).collect())?);
        }
        let slots = UInt64Array::from_iter_values(good.iter().map(|pick| pick.0 as u64));
        let mut columns = take_arrays(&key_columns, &slots, None)?;
        match old {
            None => columns.extend(take_arrays(&new.columns, &slots, None)?),
            Some(old) => {
                let groups = keys.len() as u64;
                let place = |&(slot, is_new, _): &(usize, bool, i64)| slot as u64 + if is_new { groups } else { 0 };
                let places = UInt64Array::from_iter_values(good.iter().map(place));
                for (old, new) in old.columns.iter().zip(&new.columns) {
                    columns.push(arrow::compute::take(&concat(&[old, new])?, &places, None)?);
                }
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(good.len()));
        let rows = RecordBatch::try_new_with_options(SchemaRef::clone(&self.output), columns, &options)?;
        out.emit(MAIN_PORT, DeltaBatch::new(rows, good.iter().map(|pick| pick.2).collect())?);
        Ok(())
    }
}
