//! Floor 1: the words of the model as types: epochs, deltas, schemas, keys, positions, watermarks.

mod delta;
mod epoch;
mod id;
mod key_group;
mod position;
mod row;
mod schema;
mod watermark;

pub use delta::{DeltaBatch, Weights};
pub use epoch::Epoch;
pub use id::{CheckpointId, JobId, NodeId, RelationId};
pub use key_group::{KEY_GROUPS, key_group, key_hash, worker_of};
pub use position::{Position, SplitId};
pub use row::{EncodedRows, RowCodec};
pub use schema::{Column, Schema, SqlType};
pub use watermark::Watermark;
