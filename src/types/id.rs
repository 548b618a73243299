//! Numbers that name things for ever: they are never used twice in one data directory.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($inner:ty)),* $(,)?) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )* };
}

ids! {
    /// A relation: source, table, view, or the late rows or faults of one.
    RelationId(u64),
    /// A job: one dataflow with its life cycle.
    JobId(u64),
    /// A node of one graph.
    NodeId(u32),
    /// A checkpoint.
    CheckpointId(u64),
}
