//! Retractable aggregates: count, sum, avg, min, max over weighted rows, with PostgreSQL's result types.
//!
//! How an operator uses them, per epoch:
//!
//! 1. [`Aggregates::new`] once. [`Aggregates::keeping`] says, per call, what it needs beside the accumulator: nothing,
//!    or a `Bag` table (group key, value) → weight, for DISTINCT and for min/max over input that retracts.
//! 2. Per batch: [`Aggregates::arguments`], then [`Accumulators::update`] with the slot of every row's group. Slots are
//!    places in flat typed vectors, not objects; the operator maps keys to slots as it likes (one set per epoch
//!    with slots filled by [`Accumulators::decode`] at first touch, or a partial set per batch and
//!    [`Accumulators::merge`]).
//! 3. At epoch end: [`Accumulators::rows`] tells whether a group is still there, [`Accumulators::finish`] gives the
//!    results, [`Accumulators::encode`] the one state row of a group.
//!
//! Results depend on nothing but the multiset of rows: sums of floats are exact ([`FloatSum`]), so no order of
//! addition or retraction can be told from another.

mod accumulators;
mod call;
mod extreme;
mod flat;
mod float_sum;
mod sums;
mod varint;
mod wide;

pub use accumulators::{Accumulators, Aggregates, Arguments, Keeping};
pub use call::{AggregateCall, AggregateFunction};
pub use float_sum::FloatSum;
pub use wide::Wide;

#[cfg(test)]
mod tests;
