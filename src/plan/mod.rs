//! Floor 7: logical plans to operator graphs. Knows DataFusion's plans and our specs; no SQL text, no sessions.

mod batch;
mod optimize;
mod relation;
mod window;

pub use batch::for_batch;
pub use relation::RelationSource;
pub use window::{WINDOW_END, WINDOW_START, Window, WindowAssign, expand_windows};
