//! Retractable aggregates over weighted rows, with PostgreSQL's meaning and result types.
//!
//! How an operator uses them, per epoch:
//!
//! 1. [`Aggregates::new`] once. [`Aggregates::keeping`] says, per call, what it needs beside the accumulator: nothing,
//!    or a `Bag` table (group key, row) → weight: for DISTINCT, for min, max, first and last over input that retracts,
//!    and for what can only be worked out anew from all rows (percentiles, mode, string_agg).
//! 2. Per batch: [`Aggregates::arguments`], then [`Accumulators::update`] with the slot of every row's group. Slots are
//!    places in flat typed vectors, not objects; the operator maps keys to slots as it likes (one set per epoch
//!    with slots filled by [`Accumulators::decode`] at first touch, or a partial set per batch and
//!    [`Accumulators::merge`]).
//! 3. At epoch end: [`Accumulators::rows`] tells whether a group is still there, [`Accumulators::finish`] gives the
//!    results, [`Accumulators::encode`] the one state row of a group.
//!
//! Results depend on nothing but the multiset of rows: sums of floats and of their products are exact ([`FloatSum`]),
//! ties are broken by the whole kept row, so no order of addition or retraction can be told from another.

mod accumulators;
mod aggregates;
mod call;
mod extreme;
mod flat;
mod float_sum;
mod fold;
mod function;
mod moments;
mod order;
mod state;
mod sums;
mod tally;
mod varint;
mod wide;

pub use accumulators::Accumulators;
pub use aggregates::{Aggregates, Arguments, Keeping};
pub use call::{AggregateCall, Order};
pub use float_sum::FloatSum;
pub use fold::Folding;
pub use function::AggregateFunction;
pub use wide::Wide;

#[cfg(test)]
mod tests;
