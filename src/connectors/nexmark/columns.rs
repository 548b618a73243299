//! The columns of Nexmark events, and how each is taken from one.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int64Builder, RecordBatch, RecordBatchOptions, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::SchemaRef;
use nexmark::event::Event;

use super::NexmarkTable;
use crate::base::Result;
use crate::types::{Column, SqlType};

/// What one event has in one column.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'a> {
    Null,
    Number(usize),
    /// Milliseconds since 1970.
    Time(u64),
    Text(&'a str),
}

/// A column and how it is taken from an event.
#[derive(Clone)]
pub(super) struct NexmarkColumn {
    pub(super) column: Column,
    take: fn(&Event) -> Cell<'_>,
}

/// A field of one kind of event; NULL of the others.
macro_rules! field {
    ($kind:ident, $field:ident, Text) => {
        (stringify!($field), SqlType::Varchar, |event: &Event| match event {
            Event::$kind(event) => Cell::Text(&event.$field),
            _ => Cell::Null,
        })
    };
    ($kind:ident, $field:ident, Time) => {
        (stringify!($field), SqlType::Timestamp, |event: &Event| match event {
            Event::$kind(event) => Cell::Time(event.$field),
            _ => Cell::Null,
        })
    };
    ($kind:ident, $field:ident, Number) => {
        (stringify!($field), SqlType::BigInt, |event: &Event| match event {
            Event::$kind(event) => Cell::Number(event.$field),
            _ => Cell::Null,
        })
    };
}

type Field = (&'static str, SqlType, fn(&Event) -> Cell<'_>);

fn person() -> Vec<Field> {
    vec![
        field!(Person, id, Number),
        field!(Person, name, Text),
        field!(Person, email_address, Text),
        field!(Person, credit_card, Text),
        field!(Person, city, Text),
        field!(Person, state, Text),
        field!(Person, date_time, Time),
        field!(Person, extra, Text),
    ]
}

fn auction() -> Vec<Field> {
    vec![
        field!(Auction, id, Number),
        field!(Auction, item_name, Text),
        field!(Auction, description, Text),
        field!(Auction, initial_bid, Number),
        field!(Auction, reserve, Number),
        field!(Auction, date_time, Time),
        field!(Auction, expires, Time),
        field!(Auction, seller, Number),
        field!(Auction, category, Number),
        field!(Auction, extra, Text),
    ]
}

fn bid() -> Vec<Field> {
    vec![
        field!(Bid, auction, Number),
        field!(Bid, bidder, Number),
        field!(Bid, price, Number),
        field!(Bid, channel, Text),
        field!(Bid, url, Text),
        field!(Bid, date_time, Time),
        field!(Bid, extra, Text),
    ]
}

/// All columns of `table`, in order.
pub(super) fn all(table: NexmarkTable) -> Vec<NexmarkColumn> {
    let own = |fields: Vec<Field>| fields.into_iter().map(|field| column("", field, false)).collect();
    match table {
        NexmarkTable::Person => own(person()),
        NexmarkTable::Auction => own(auction()),
        NexmarkTable::Bid => own(bid()),
        NexmarkTable::All => {
            let kind = |event: &Event| match event {
                Event::Person(_) => Cell::Number(0),
                Event::Auction(_) => Cell::Number(1),
                Event::Bid(_) => Cell::Number(2),
            };
            let time: Field = ("date_time", SqlType::Timestamp, |event| Cell::Time(event.timestamp()));
            let head = [column("", ("event_type", SqlType::BigInt, kind), false), column("", time, false)];
            let of = |name, fields: Vec<Field>| {
                let rest = fields.into_iter().filter(|field| field.0 != "date_time");
                rest.map(move |field| column(name, field, true))
            };
            head.into_iter()
                .chain(of("person_", person()))
                .chain(of("auction_", auction()))
                .chain(of("bid_", bid()))
                .collect()
        }
    }
}

fn column(prefix: &str, (name, ty, take): Field, nullable: bool) -> NexmarkColumn {
    NexmarkColumn { column: Column { name: format!("{prefix}{name}"), ty, nullable }, take }
}

enum Builder {
    Numbers(Int64Builder),
    Times(TimestampMicrosecondBuilder),
    Texts(StringBuilder),
}

/// Columns being filled, event by event.
pub(super) struct Cells<'a> {
    columns: &'a [NexmarkColumn],
    builders: Vec<Builder>,
    rows: usize,
}

impl<'a> Cells<'a> {
    pub(super) fn new(columns: &'a [NexmarkColumn], rows: usize) -> Cells<'a> {
        let builder = |column: &NexmarkColumn| match column.column.ty {
            SqlType::BigInt => Builder::Numbers(Int64Builder::with_capacity(rows)),
            SqlType::Timestamp => Builder::Times(TimestampMicrosecondBuilder::with_capacity(rows)),
            _ => Builder::Texts(StringBuilder::new()),
        };
        Cells { columns, builders: columns.iter().map(builder).collect(), rows: 0 }
    }

    pub(super) fn push(&mut self, event: &Event) {
        for (column, builder) in self.columns.iter().zip(&mut self.builders) {
            match (builder, (column.take)(event)) {
                (Builder::Numbers(builder), Cell::Number(value)) => builder.append_value(value as i64),
                (Builder::Times(builder), Cell::Time(ms)) => builder.append_value(ms as i64 * 1000),
                (Builder::Texts(builder), Cell::Text(text)) => builder.append_value(text),
                (Builder::Numbers(builder), _) => builder.append_null(),
                (Builder::Times(builder), _) => builder.append_null(),
                (Builder::Texts(builder), _) => builder.append_null(),
            }
        }
        self.rows += 1;
    }

    pub(super) fn finish(self, schema: &SchemaRef) -> Result<RecordBatch> {
        let finish = |builder| -> ArrayRef {
            match builder {
                Builder::Numbers(mut builder) => Arc::new(builder.finish()),
                Builder::Times(mut builder) => Arc::new(builder.finish()),
                Builder::Texts(mut builder) => Arc::new(builder.finish()),
            }
        };
        let columns = self.builders.into_iter().map(finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        Ok(RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns, &options)?)
    }
}
