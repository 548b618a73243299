//! Floor 1: the words of the model as types: epochs, deltas, schemas, keys, positions, watermarks.

pub mod calendar;
mod delta;
pub mod digits;
mod epoch;
mod id;
pub mod json;
pub mod jsonb;
mod key_group;
pub mod numeric;
mod position;
mod reason;
mod row;
pub(crate) mod schema;
pub mod text;
mod watermark;

pub use delta::{DeltaBatch, Weights};
pub use epoch::Epoch;
pub use id::{CheckpointId, JobId, NodeId, RelationId};
pub use key_group::{KEY_GROUPS, key_group, key_hash, worker_of};
pub use position::{Position, SplitId};
pub use reason::Reason;
pub use row::{EncodedRows, RowCodec};
pub use schema::{Column, Schema, SqlType, Told};
pub use watermark::Watermark;
