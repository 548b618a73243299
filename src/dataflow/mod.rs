//! Floor 5: graphs as plain data, the inputs and commands of running ones, and the workers that run them.
//!
//! `worker/` is the only folder of the crate that knows timely.

mod command;
mod deal;
mod graph;
mod input;
mod metrics;
pub mod sink;
pub mod source;
mod worker;

pub use command::{CreateJob, JobState, OutboxWriter, Response, SinkOutbox, StoredEntries, WorkerCut};
pub use deal::Deal;
pub use graph::{
    Edge, Exchange, GRAPH_VERSION, Graph, Node, NodeKind, Placement, PublishSpec, RelationInput, SinkSpec, SourceInput,
    WATERMARK_COLUMN, WatermarkExpr,
};
pub use input::{Close, InputMessage, JobInput, JobInputReceivers, Sent, job_input};
pub use metrics::{Counter, JobMetrics, SubtaskMetrics, WorkerMetrics};
pub use worker::{Runtime, RuntimeSettings};
