//! Options of the connectors that make their rows: `nexmark` and `datagen`.

use std::collections::BTreeMap;

use super::Given;
use crate::base::{Error, Result, sqlstate};

/// Which Nexmark events are rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NexmarkTable {
    /// Persons.
    Person,
    /// Auctions.
    Auction,
    /// Bids.
    Bid,
    /// All events, told apart by `event_type`.
    All,
}

/// Options of a `nexmark` source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NexmarkOptions {
    /// Which events.
    pub table: NexmarkTable,
    /// How many events there are; none: it never ends.
    pub events: Option<u64>,
    /// Events per second of event time, and of the clock while it is paced.
    pub rate: Option<u64>,
    /// Whether events come no sooner than the clock says.
    pub paced: bool,
    /// The event time of event 0, as written.
    pub base_time: Option<String>,
    /// The number of the first event.
    pub first_event: u64,
    /// How many events come in another order.
    pub out_of_order_group: u64,
}

/// Options of a `datagen` source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatagenOptions {
    /// Rows per second of the clock.
    pub rate: Option<u64>,
    /// How many rows there are; none: it never ends.
    pub rows: Option<u64>,
    /// `fields.<column>.<key>`, by column and key.
    pub fields: BTreeMap<String, BTreeMap<String, String>>,
}

/// Options of a `nexmark` source.
pub(super) const NEXMARK: [&str; 7] =
    ["table", "events", "rate", "paced", "base_time", "first_event", "out_of_order_group"];
/// Options of a `datagen` source, beside those of its columns. The longer names are Flink's and RisingWave's.
pub(super) const DATAGEN: [&str; 5] = ["rate", "rows", "rows-per-second", "number-of-rows", "datagen.rows.per.second"];
/// Options of a column.
const FIELD: [&str; 10] = ["kind", "start", "end", "step", "min", "max", "length", "choices", "seed", "nulls"];

impl NexmarkOptions {
    pub(super) fn read(given: &Given<'_>) -> Result<NexmarkOptions> {
        let tables = [
            ("person", NexmarkTable::Person),
            ("auction", NexmarkTable::Auction),
            ("bid", NexmarkTable::Bid),
            ("all", NexmarkTable::All),
        ];
        let table = given.read("table", "person, auction, bid or all", |text| {
            tables.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, table)| *table)
        })?;
        let events = given.number("events")?;
        Ok(NexmarkOptions {
            table: table.unwrap_or(NexmarkTable::All),
            events,
            rate: given.number("rate")?,
            paced: given.boolean("paced")?.unwrap_or(events.is_none()),
            base_time: given.text("base_time"),
            first_event: given.read("first_event", "a whole number", |text| text.parse().ok())?.unwrap_or(0),
            out_of_order_group: given.number("out_of_order_group")?.unwrap_or(1),
        })
    }
}

impl DatagenOptions {
    pub(super) fn read(given: &Given<'_>) -> Result<DatagenOptions> {
        let mut fields: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for (key, value) in &given.options.values {
            let Some(rest) = key.strip_prefix("fields.") else { continue };
            let split = rest.rsplit_once('.').filter(|(column, key)| !column.is_empty() && FIELD.contains(key));
            let Some((column, key)) = split else {
                return Err(Error::invalid(format!("a column of datagen has no option \"{rest}\""))
                    .with_code(sqlstate::INVALID_PARAMETER_VALUE)
                    .with_hint(format!("Write fields.<column>.<option> with one of {}.", FIELD.join(", ")))
                    .at(value.position));
            };
            fields.entry(column.to_string()).or_default().insert(key.to_string(), value.text.clone());
        }
        let first = |keys: &[&str]| -> Result<Option<u64>> {
            for key in keys {
                if let Some(number) = given.number(key)? {
                    return Ok(Some(number));
                }
            }
            Ok(None)
        };
        Ok(DatagenOptions {
            rate: first(&["rate", "rows-per-second", "datagen.rows.per.second"])?,
            rows: first(&["rows", "number-of-rows"])?,
            fields,
        })
    }
}
