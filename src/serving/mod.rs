//! Floor 6: reads at one epoch, point reads, subscriptions. The only way from published views to clients.
//!
//! A SELECT: the engine makes a [`ReadSet`] (every relation of the statement at one epoch), the planner puts its tables
//! in the place of the statement's scans, a [`QueryRunner`] executes the plan on threads of its own. A SUBSCRIBE: a
//! [`Subscription`] over the published view and the engine's word on which epoch is visible.

mod apply;
mod error;
mod given;
mod lookup;
mod query;
mod read_set;
mod scan;
mod slices;
mod subscription;
mod table;
mod wanted;
mod yielding;

#[cfg(test)]
mod tests;

pub use error::from_datafusion;
pub use given::{Rows, rows_table, stream_table};
pub use lookup::KeyFilter;
pub use query::{QueryLimits, QueryRunner, RowStream};
pub use read_set::ReadSet;
pub use subscription::{Change, Start, Subscription, subscription_rows, subscription_schema};
pub use table::SnapshotTable;
