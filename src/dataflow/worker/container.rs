//! What travels on an edge: delta batches with the worker each goes to, and their form between processes.
//!
//! | field | bytes |
//! |---|---|
//! | records | 8, little-endian: what progress tracking counts; the only field read when the rest is torn |
//! | items | 4 |
//! | per item: target worker | 4 |
//! | lane | 4 |
//! | charge (bytes held of the lane) | 8 |
//! | flags | 1: bit 0 = the last column of the stream is the weights |
//! | length | 4 |
//! | the batch | `length`: an Arrow IPC stream of one batch |
//!
//! at the end zeros up to a multiple of 8. Within a process nothing is encoded: batches go as pointers.

use std::cell::OnceCell;
use std::io::{Cursor, Write};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Int64Type};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use timely::Accountable;
use timely::dataflow::channels::ContainerBytes;

use crate::base::{Error, Result};
use crate::types::{DeltaBatch, Weights};

/// A batch under way to one worker.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    /// To which worker.
    pub(super) target: u32,
    /// The lane it was sent on.
    pub(super) lane: u32,
    /// What it holds of the lane until it is consumed.
    pub(super) charge: usize,
    /// The rows.
    pub(super) batch: DeltaBatch,
}

/// The container on every edge.
#[derive(Clone, Debug, Default)]
pub(super) struct Deltas {
    parcels: Vec<Parcel>,
    /// Written once, when timely asks first for the length and then for the bytes.
    encoded: OnceCell<Vec<u8>>,
    /// Bytes that did not read: how many records they stood for, and why. The consumer stops the job.
    torn: Option<(i64, Arc<Error>)>,
}

impl Deltas {
    /// A container of `parcels`, none of which is empty of rows (timely drops containers that count nothing).
    pub(super) fn new(parcels: Vec<Parcel>) -> Self {
        Deltas { parcels, ..Deltas::default() }
    }

    /// Takes the parcels out; an error if the bytes from another process did not read.
    pub(super) fn take(&mut self) -> Result<Vec<Parcel>> {
        self.encoded.take();
        match self.torn.take() {
            None => Ok(std::mem::take(&mut self.parcels)),
            Some((_, error)) => Err(Error::corrupt("rows from another process do not read as they were sent")
                .with_hint("Run the same build of millstream in every process of the cluster.")
                .caused_by(error)),
        }
    }

    fn encoded(&self) -> &[u8] {
        self.encoded.get_or_init(|| {
            // Without the batches the reader still sees the count, finds the rest torn, and stops the job.
            self.encode().unwrap_or_else(|_| self.record_count().to_le_bytes().to_vec())
        })
    }

    fn encode(&self) -> Result<Vec<u8>> {
        let mut out = self.record_count().to_le_bytes().to_vec();
        out.extend_from_slice(&(self.parcels.len() as u32).to_le_bytes());
        for parcel in &self.parcels {
            let (rows, flags) = match &parcel.batch.weights {
                Weights::Ones => (parcel.batch.rows.clone(), 0),
                Weights::Each(_) => (with_weights(&parcel.batch)?, 1),
            };
            let mut stream = StreamWriter::try_new(Vec::new(), &rows.schema())?;
            stream.write(&rows)?;
            stream.finish()?;
            let stream = stream.into_inner()?;
            out.extend_from_slice(&parcel.target.to_le_bytes());
            out.extend_from_slice(&parcel.lane.to_le_bytes());
            out.extend_from_slice(&(parcel.charge as u64).to_le_bytes());
            out.push(flags);
            out.extend_from_slice(&(stream.len() as u32).to_le_bytes());
            out.extend_from_slice(&stream);
        }
        out.resize(out.len().next_multiple_of(8), 0);
        Ok(out)
    }

    fn decode(bytes: &[u8]) -> Result<Vec<Parcel>> {
        let mut rest = bytes;
        read::<8>(&mut rest)?;
        let items = u32::from_le_bytes(read(&mut rest)?);
        let mut parcels = Vec::new();
        for _ in 0..items {
            let target = u32::from_le_bytes(read(&mut rest)?);
            let lane = u32::from_le_bytes(read(&mut rest)?);
            let charge = u64::from_le_bytes(read(&mut rest)?) as usize;
            let [flags] = read(&mut rest)?;
            let length = u32::from_le_bytes(read(&mut rest)?) as usize;
            let (stream, tail) = rest.split_at_checked(length).ok_or_else(torn)?;
            rest = tail;
            let rows = StreamReader::try_new(Cursor::new(stream), None)?.next().ok_or_else(torn)??;
            let batch = if flags & 1 == 0 { DeltaBatch::inserts(rows) } else { split_weights(&rows)? };
            parcels.push(Parcel { target, lane, charge, batch });
        }
        Ok(parcels)
    }
}

fn torn() -> Error {
    Error::corrupt("bytes between processes end too early")
}

fn read<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N]> {
    let (field, tail) = rest.split_first_chunk::<N>().ok_or_else(torn)?;
    *rest = tail;
    Ok(*field)
}

fn with_weights(batch: &DeltaBatch) -> Result<RecordBatch> {
    let mut fields = batch.rows.schema().fields().to_vec();
    fields.push(Arc::new(Field::new("__weight", DataType::Int64, false)));
    let mut columns = batch.rows.columns().to_vec();
    columns.push(Arc::new(batch.weight_array()));
    Ok(RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns)?)
}

fn split_weights(rows: &RecordBatch) -> Result<DeltaBatch> {
    let (weights, columns) = rows.columns().split_last().ok_or_else(torn)?;
    let weights = weights.as_primitive_opt::<Int64Type>().ok_or_else(torn)?.values().to_vec();
    let fields = rows.schema().fields().iter().take(columns.len()).cloned().collect::<Vec<_>>();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let schema = Arc::new(arrow::datatypes::Schema::new(fields));
    DeltaBatch::new(RecordBatch::try_new_with_options(schema, columns.to_vec(), &options)?, weights)
}

impl Accountable for Deltas {
    /// Rows, at least one per parcel, so that the parts of a split container add up to the whole.
    fn record_count(&self) -> i64 {
        match &self.torn {
            Some((records, _)) => *records,
            None => self.parcels.iter().map(|parcel| parcel.batch.len().max(1) as i64).sum(),
        }
    }
}

impl ContainerBytes for Deltas {
    fn from_bytes(bytes: timely::bytes::arc::Bytes) -> Self {
        match Deltas::decode(&bytes) {
            Ok(parcels) => Deltas::new(parcels),
            Err(error) => {
                let records = bytes.first_chunk::<8>().map_or(0, |records| i64::from_le_bytes(*records));
                Deltas { torn: Some((records, Arc::new(error))), ..Deltas::default() }
            }
        }
    }

    fn length_in_bytes(&self) -> usize {
        self.encoded().len()
    }

    fn into_bytes<W: Write>(&self, writer: &mut W) {
        // Timely writes into memory that it measured before; if that ends early, the reader finds the bytes torn.
        let _ = writer.write_all(self.encoded());
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use timely::bytes::arc::BytesMut;

    use super::*;
    use crate::types::{Column, Schema, SqlType};

    fn batch(rows: usize, weights: bool) -> DeltaBatch {
        let schema = Schema::new(vec![Column::new("a", SqlType::BigInt), Column::new("b", SqlType::Varchar)]);
        let a: ArrayRef = Arc::new(Int64Array::from_iter((0..rows).map(|i| (i % 3 > 0).then_some(i as i64))));
        let b: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|i| format!("row {i}"))));
        let rows = RecordBatch::try_new(schema.arrow(), vec![a, b]).unwrap();
        let weights = (0..rows.num_rows()).map(|i| if weights { -1 - i as i64 } else { 1 }).collect();
        DeltaBatch::new(rows, weights).unwrap()
    }

    fn round_trip(bytes: Vec<u8>) -> Deltas {
        Deltas::from_bytes(BytesMut::from(bytes).freeze())
    }

    fn written(deltas: &Deltas) -> Vec<u8> {
        let mut bytes = Vec::new();
        deltas.into_bytes(&mut bytes);
        assert_eq!(bytes.len(), deltas.length_in_bytes());
        assert_eq!(bytes.len() % 8, 0);
        bytes
    }

    #[test]
    fn containers_survive_as_bytes() {
        let parcels: Vec<Parcel> = [(0, 5, false), (3, 1000, true), (1, 0, false)]
            .map(|(target, rows, weights)| Parcel { target, lane: 9, charge: rows * 7, batch: batch(rows, weights) })
            .into();
        let sent = Deltas::new(parcels.clone());
        let mut got = round_trip(written(&sent));
        assert_eq!(got.record_count(), 1006);
        for (sent, got) in parcels.iter().zip(got.take().unwrap()) {
            assert_eq!((sent.target, sent.lane, sent.charge), (got.target, got.lane, got.charge));
            assert_eq!(sent.batch.rows, got.batch.rows);
            assert_eq!(sent.batch.weights, got.batch.weights);
        }
    }

    #[test]
    fn rows_without_columns_keep_their_count() {
        let options = RecordBatchOptions::new().with_row_count(Some(4));
        let rows = RecordBatch::try_new_with_options(Schema::default().arrow(), vec![], &options).unwrap();
        let batch = DeltaBatch::new(rows, vec![1, 1, -1, 2]).unwrap();
        let mut got = round_trip(written(&Deltas::new(vec![Parcel { target: 0, lane: 2, charge: 1, batch }])));
        assert_eq!(got.take().unwrap()[0].batch.len(), 4);
    }

    #[test]
    fn torn_bytes_keep_their_count_and_are_an_error() {
        let whole = written(&Deltas::new(vec![Parcel { target: 0, lane: 2, charge: 1, batch: batch(100, true) }]));
        for length in (8..whole.len() - 16).step_by(97) {
            let mut got = round_trip(whole[..length].to_vec());
            assert_eq!(got.record_count(), 100);
            assert_eq!(got.take().unwrap_err().kind(), crate::base::ErrorKind::Corrupt);
        }
    }
}
