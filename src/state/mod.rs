//! Floor 3: keyed tables for operators, and published views. State is bytes; keys are made by [`crate::types::RowCodec`].

mod bag;
mod budget;
mod codec;
mod cut;
mod group;
mod map;
mod operator_state;
mod ordered;
mod published;
mod residency;
mod slots;
mod spec;
mod table;
mod tree;

#[cfg(test)]
mod tests;

pub use bag::{BagTable, RowsOfKey};
pub use budget::MemoryBudget;
pub use codec::{LAYOUT_VERSION, StoredKey};
pub use cut::TableCut;
pub use map::{Change, MapTable};
pub use operator_state::OperatorState;
pub use ordered::OrderedTable;
pub use published::{Hold, PublishedView, Run, ShardWriter, Snapshot, ViewCut, ViewLimits};
pub use residency::{Read, Tier, Wanted};
pub use spec::{TableKind, TableSpec};
pub use table::StateTable;
