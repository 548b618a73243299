//! Connector `nexmark`: the persons, auctions and bids of the Nexmark benchmark, made by the crate of that name.
//!
//! An event is a function of its number, so the source replays. Event time goes on by `1 / rate` seconds per event from
//! `base_time` on; with an out-of-order group of *n*, every *n* events come in another, fixed order.

mod columns;

#[cfg(test)]
mod tests;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;

use self::columns::{Cells, NexmarkColumn};
use super::Numbered;
use crate::base::{Error, Result, did_you_mean, sqlstate};
use crate::types::Schema;

/// Events have numbers below this, so that no sum in the generator overflows.
const NUMBER_MAX: u64 = 1 << 40;
/// Rows of a batch, about.
const BATCH_ROWS: u64 = 4096;
/// The proportions of the benchmark: of every 50 events one is a person, three are auctions, the others bids.
const CYCLE: u64 = 50;
const PERSONS: u64 = 1;
const AUCTIONS: u64 = 3;
/// The crate's order of a group is a permutation only when the size of the group is no multiple of this.
const STRIDE: u64 = 953;

/// Which events are rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NexmarkTable {
    /// Persons.
    Person,
    /// Auctions.
    Auction,
    /// Bids.
    Bid,
    /// All of them, with `event_type` 0, 1, 2 and the columns of the three behind the names of their tables.
    All,
}

/// How a Nexmark source is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NexmarkOptions {
    /// Which events.
    pub table: NexmarkTable,
    /// Events per second of event time.
    pub rate: u64,
    /// The event time of event 0, in milliseconds since 1970.
    pub base_time_ms: u64,
    /// The number of the first event.
    pub first_event: u64,
    /// How many events come in another order; 1: none.
    pub out_of_order_group: u64,
}

impl NexmarkOptions {
    /// 2015-07-15 00:00:00, where the benchmark begins.
    pub const BASE_TIME_MS: u64 = 1_436_918_400_000;

    /// Events of `table` as the benchmark makes them.
    pub fn new(table: NexmarkTable) -> NexmarkOptions {
        let base_time_ms = NexmarkOptions::BASE_TIME_MS;
        NexmarkOptions { table, rate: 10_000, base_time_ms, first_event: 0, out_of_order_group: 1 }
    }

    /// All columns that its rows can have.
    pub fn schema(&self) -> Schema {
        Schema::new(columns::all(self.table).into_iter().map(|column| column.column).collect())
    }
}

/// The generator of Nexmark events.
pub struct Nexmark {
    options: NexmarkOptions,
    generator: EventGenerator,
    schema: SchemaRef,
    columns: Vec<NexmarkColumn>,
}

impl Nexmark {
    /// Rows with `columns`, which must be among those of [`NexmarkOptions::schema`], in any order.
    pub fn new(options: NexmarkOptions, columns: &Schema) -> Result<Nexmark> {
        check(&options)?;
        let known = columns::all(options.table);
        let mut chosen = Vec::with_capacity(columns.columns.len());
        for column in &columns.columns {
            let found = known.iter().find(|known| known.column.name == column.name).ok_or_else(|| {
                let error = Error::invalid(format!("nexmark has no column \"{}\"", column.name))
                    .with_code(sqlstate::UNDEFINED_COLUMN);
                let names = || known.iter().map(|known| known.column.name.as_str());
                let list = || format!("It has {}.", names().collect::<Vec<_>>().join(", "));
                error.with_hint(did_you_mean(&column.name, names()).unwrap_or_else(list))
            })?;
            if found.column.ty != column.ty || (found.column.nullable && !column.nullable) {
                let nullable = if found.column.nullable { "" } else { " not null" };
                return Err(Error::invalid(format!("column \"{}\" of nexmark is of another type", column.name))
                    .with_code(sqlstate::DATATYPE_MISMATCH)
                    .with_hint(format!("Declare it as {}{nullable}, or leave all columns out.", found.column.ty)));
            }
            chosen.push(found.clone());
        }
        let to_usize = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let config = NexmarkConfig {
            base_time: options.base_time_ms,
            first_event_number: to_usize(options.first_event),
            out_of_order_group_size: to_usize(options.out_of_order_group),
            first_rate: to_usize(options.rate),
            next_rate: to_usize(options.rate),
            ..NexmarkConfig::default()
        };
        let generator = EventGenerator::new(config);
        Ok(Nexmark { options, generator, schema: columns.arrow(), columns: chosen })
    }

    /// Whether the event at `offset` is a row.
    fn is_wanted(&self, offset: u64) -> bool {
        let (n, number) = (self.options.out_of_order_group, self.options.first_event + offset);
        let number = (number / n) * n + (number * STRIDE) % n;
        let place = number % CYCLE;
        match self.options.table {
            NexmarkTable::All => true,
            NexmarkTable::Person => place < PERSONS,
            NexmarkTable::Auction => (PERSONS..PERSONS + AUCTIONS).contains(&place),
            NexmarkTable::Bid => place >= PERSONS + AUCTIONS,
        }
    }
}

impl Numbered for Nexmark {
    fn rows(&self, from: u64, to: u64) -> Result<RecordBatch> {
        if self.options.first_event.saturating_add(to) > NUMBER_MAX {
            return Err(Error::limit(format!("nexmark has no events beyond number {NUMBER_MAX}"))
                .with_hint("Create another source with a smaller first_event."));
        }
        let mut cells = Cells::new(&self.columns, usize::try_from(to - from).unwrap_or_default());
        let mut generator = self.generator.clone();
        for offset in (from..to).filter(|&offset| self.is_wanted(offset)) {
            generator = generator.with_offset(offset);
            if let Some(event) = generator.next() {
                cells.push(&event);
            }
        }
        cells.finish(&self.schema)
    }

    fn events_per_batch(&self) -> u64 {
        let share = match self.options.table {
            NexmarkTable::All => CYCLE,
            NexmarkTable::Person => PERSONS,
            NexmarkTable::Auction => AUCTIONS,
            NexmarkTable::Bid => CYCLE - PERSONS - AUCTIONS,
        };
        BATCH_ROWS * CYCLE / share
    }

    fn bytes_per_event(&self) -> u64 {
        match self.options.table {
            NexmarkTable::All | NexmarkTable::Bid => 200,
            NexmarkTable::Auction => 40,
            NexmarkTable::Person => 10,
        }
    }
}

fn check(options: &NexmarkOptions) -> Result<()> {
    let refuse = |key: &str, hint: String| {
        let error = Error::invalid(format!("option \"{key}\" of nexmark is out of range"));
        Err(error.with_code(sqlstate::INVALID_PARAMETER_VALUE).with_hint(hint))
    };
    if options.rate == 0 || options.rate > 1_000_000_000 {
        return refuse("rate", "It takes 1 to 1000000000 events per second of event time.".into());
    }
    if options.base_time_ms > 4_102_444_800_000 {
        return refuse("base_time", "It takes a time between 1970 and 2100.".into());
    }
    if options.first_event >= NUMBER_MAX {
        return refuse("first_event", format!("It takes a number below {NUMBER_MAX}."));
    }
    let group = options.out_of_order_group;
    if group == 0 || group > 1_000_000 || group.is_multiple_of(STRIDE) {
        let hint = format!("It takes 1 (in order) to 1000000, but no multiple of {STRIDE}.");
        return refuse("out_of_order_group", hint);
    }
    Ok(())
}
