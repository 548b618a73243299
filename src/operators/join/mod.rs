//! `join`: every kind of join by delta: new rows of one side meet the state of the other.
//!
//! Each side keeps its rows in a Bag by join key. A batch is matched against the other side's state first and then put
//! into its own side's, so that of two rows of one epoch the one that comes later finds the other: every pair is met
//! once. Weights multiply. A pair whose residual condition faults leaves on port 2 with the product of the weights.
//!
//! What is *shown* of a row depends on whether it has a match: LEFT, RIGHT and FULL pad rows without, ANTI shows them
//! bare, SEMI shows those with one. The operator always has put out exactly what the state it holds would show; so
//! when the last match of a row goes or its first comes, it puts out that one change, whatever else the epoch brings.
//! Two ways to know whether a row has a match, [`side::Matching`]: with equalities alone, the other side has rows of
//! its key or not; else the matches of each row are counted in a table of their own. A pair that faults counts as a
//! match, except for SEMI, which shows only what surely has one.
//!
//! | table | kind | key | row, or order |
//! |---|---|---|---|
//! | `left`, `right` | Bag | join key | the columns that are not in the key, the band's first |
//! | `left_matches`, `right_matches`, if counted | Bag | join key | the same row; its weight is its number of matches |
//! | `left_due`, `right_due`, if freed by watermark | Ordered | join key | order: the time of rows that are to be freed |
//!
//! A key with a NULL in it (unless NULLs are equal) or a NULL in the band matches nothing: such rows are not kept.

mod band;
mod free;
mod matching;
mod side;
mod spec;
mod work;

#[cfg(test)]
mod tests;

pub use band::Band;
pub use free::Due;
pub(super) use side::{Arriving, Side};
pub use spec::{JoinKind, JoinSpec};

/// Bytes of state rows after which a slice of output ends, if [`super::SLICE_ROWS`] has not ended it.
const SLICE_BYTES: usize = 4 << 20;
