//! One input of a join: how its rows are split into key and rest, and a batch of it on its way.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::buffer::NullBuffer;

use super::band::{Band, Ranges};
use super::free::Due;
use crate::base::{Error, Result};
use crate::operators::spec::Door;
use crate::state::TableSpec;
use crate::types::{DeltaBatch, EncodedRows, RowCodec, Schema, SqlType};

/// What is shown of single rows of a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::operators) enum Shown {
    /// Those without a match.
    Unmatched,
    /// Those with one.
    Matched,
}

/// How it is known whether a row of a side has a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::operators) enum Matching {
    /// It does not matter.
    Unknown,
    /// It has one if the other side has rows of its key.
    ByKey,
    /// Its matches are counted.
    Counted,
}

/// One input, as this operator sees it.
pub(in crate::operators) struct Side {
    pub name: &'static str,
    pub schema: Schema,
    pub door: Door,
    pub key: Vec<usize>,
    /// The other columns, the band's first.
    pub rest: Vec<usize>,
    pub key_types: Vec<SqlType>,
    pub rest_types: Vec<SqlType>,
    /// Where each column comes from when a row is put together from (key, rest).
    pub places: Vec<Place>,
    pub null_safe: bool,
    /// The column of the band.
    pub band: Option<usize>,
    pub shown: Option<Shown>,
    pub matching: Matching,
    pub due: Option<Due>,
}

#[derive(Clone, Copy)]
pub(in crate::operators) enum Place {
    Key(usize),
    Rest(usize),
}

impl Side {
    pub fn new(name: &'static str, schema: &Schema, key: Vec<usize>, band: Option<usize>) -> Result<Side> {
        let width = schema.columns.len();
        if key.iter().chain(&band).any(|&column| column >= width) || band.is_some_and(|band| key.contains(&band)) {
            return Err(Error::internal(format!(
                "join key and band do not fit the {width} columns of its {name} side"
            )));
        }
        let mut rest: Vec<usize> = band.into_iter().collect();
        rest.extend((0..width).filter(|column| !key.contains(column) && Some(*column) != band));
        let place = |column: usize| match key.iter().position(|&other| other == column) {
            Some(place) => Place::Key(place),
            None => Place::Rest(rest.iter().position(|&other| other == column).unwrap_or_default()),
        };
        let places = (0..width).map(place).collect();
        let (key_types, rest_types) = (schema.project(&key).types(), schema.project(&rest).types());
        Ok(Side {
            name,
            schema: schema.clone(),
            door: Door::new("join", schema),
            key,
            rest,
            key_types,
            rest_types,
            places,
            null_safe: false,
            band,
            shown: None,
            matching: Matching::Unknown,
            due: None,
        })
    }

    pub fn table(&self, suffix: &str) -> TableSpec {
        TableSpec::bag(format!("{}{suffix}", self.name), self.key_types.clone(), self.rest_types.clone())
    }

    /// The rows of a batch that can have a match, and those that cannot: NULL in the key or in the band.
    pub fn hopeful(&self, batch: &DeltaBatch) -> Result<(DeltaBatch, Option<DeltaBatch>)> {
        let key: &[usize] = if self.null_safe { &[] } else { &self.key };
        let nulls = key.iter().chain(&self.band).fold(None, |nulls: Option<NullBuffer>, &column| {
            NullBuffer::union(nulls.as_ref(), batch.rows.column(column).nulls())
        });
        let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) else { return Ok((batch.clone(), None)) };
        let valid = BooleanArray::new(nulls.into_inner(), None);
        Ok((batch.filter(&valid)?, Some(batch.filter(&arrow::compute::not(&valid)?)?)))
    }

    /// A batch of rows that can have a match, encoded.
    pub fn encode(&self, port: usize, batch: DeltaBatch, band: Option<&Band>) -> Result<Arriving> {
        let columns = |indices: &[usize]| -> Vec<ArrayRef> {
            indices.iter().map(|&column| Arc::clone(batch.rows.column(column))).collect()
        };
        let keys = RowCodec::new(self.key_types.clone()).encode_rows(&columns(&self.key), batch.len())?;
        let rests = RowCodec::new(self.rest_types.clone()).encode_rows(&columns(&self.rest), batch.len())?;
        let ranges = match (band, self.band) {
            (Some(band), Some(column)) => Some(band.ranges(port, batch.rows.column(column))?),
            _ => None,
        };
        let counts = if self.matching == Matching::Counted { vec![0; batch.len()] } else { Vec::new() };
        Ok(Arriving { port, batch, keys, rests, ranges, counts, row: 0, from: Vec::new(), turned: None })
    }

    /// The columns that are not in the key, of rows kept.
    pub fn decode_rest<'a>(&self, rests: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        RowCodec::new(self.rest_types.clone()).decode(rests)
    }

    /// Rows put together from their keys and rests.
    pub fn decode<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a [u8]>,
        rests: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Vec<ArrayRef>> {
        let keys = RowCodec::new(self.key_types.clone()).decode(keys)?;
        let rests = self.decode_rest(rests)?;
        let column = |place: &Place| match *place {
            Place::Key(i) => Arc::clone(&keys[i]),
            Place::Rest(i) => Arc::clone(&rests[i]),
        };
        Ok(self.places.iter().map(column).collect())
    }
}

/// The batch of the open call, and how far it has come.
pub(in crate::operators) struct Arriving {
    pub port: usize,
    pub batch: DeltaBatch,
    pub keys: EncodedRows,
    pub rests: EncodedRows,
    pub ranges: Option<Ranges>,
    /// The matches of each row, where they are counted.
    pub counts: Vec<i64>,
    /// The row being matched; while keys are turned, the place in `turned`.
    pub row: usize,
    /// The first row of the other side that it has not met.
    pub from: Vec<u8>,
    /// Once all rows are matched and kept: rows whose key came or went on this side, with what is now shown of the
    /// other side's rows of that key (true: they have a match).
    pub turned: Option<Vec<(usize, bool)>>,
}

impl Arriving {
    /// Bytes held beside the batch, which is the host's.
    pub fn bytes(&self) -> usize {
        let ranges = self.ranges.as_ref().map_or(0, Ranges::bytes);
        let counts = self.counts.capacity() * size_of::<i64>();
        self.keys.bytes() + self.rests.bytes() + self.from.capacity() + ranges + counts
    }
}
