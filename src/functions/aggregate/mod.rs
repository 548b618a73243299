//! Retractable aggregates: count, sum, avg, min, max over weighted rows, with PostgreSQL's result types.

mod call;

pub use call::{AggregateCall, AggregateFunction};
