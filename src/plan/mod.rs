//! Floor 7: logical plans to operator graphs. Knows DataFusion's plans and our specs; no SQL text, no sessions.
//!
//! ```text
//!   LogicalPlan ─ optimize ─▶ LogicalPlan ─ lower ─▶ streams and operators (build) ─ outputs ─▶ Graph
//! ```

mod arrays;
mod asof;
mod batch;
mod build;
mod decorrelate;
mod during;
mod first_rows;
mod grouping;
mod index;
mod lookup;
mod lower;
mod optimize;
mod outputs;
mod partition_keys;
mod point;
mod proctime;
mod relation;
mod repeat;
mod session;
mod single;
mod subquery;
mod unnest;
mod view;
mod window;

pub use asof::{ASOF, asof_mark};
pub use batch::for_batch;
pub use during::CLOCK_HINT;
pub use grouping::resolve_grouping;
pub use index::{index_for, plan_index};
pub use lookup::{LOOKUP, check_lookups, lookup_mark};
pub use lower::{Became, unit_row};
pub use point::{fixed_key, scans};
pub use proctime::{proctime_columns, stamped};
pub use relation::RelationSource;
pub use repeat::Repeat;
pub use subquery::{always_a_row, join_subqueries};
pub use unnest::{Unnest, apply_to_rows};
pub use view::{
    EmitMode, KeepLimits, PlannedView, Target, ViewRequest, explain, plan_kept, plan_sink, plan_table, plan_view,
};
pub use window::{WINDOW_END, WINDOW_START, Window, WindowAssign, expand_windows};
