//! What DataFusion is given of ours, for reads, planning and the oracle alike, and the way back from its expressions.
//!
//! * The expression planner turns `+ - * / %`, EXTRACT and comparisons with string literals into our operators as
//!   SQL is planned, so that types follow PostgreSQL from the start.
//! * The analyzer rule `checked` wraps every expression that can fault into one function over our evaluation, so
//!   that a batch read takes the same branches and gives the same errors as a stored view.
//! * [`from_datafusion`] turns logical expressions into the IR.
//! * Errors travel as `DataFusionError::External` around [`crate::base::Error`]; [`error_from_datafusion`] unpacks
//!   them.

mod accumulate;
mod aggregate;
mod array_of;
mod condition;
mod in_order;
mod independent;
mod lower;
mod may_be_null;
mod now;
mod numbering;
pub mod outward;
pub mod plain;
mod planner;
mod row_order;
mod rule;
mod session;
mod types;
mod udf;

pub use aggregate::{aggregate_from_datafusion, aggregate_function};
pub use array_of::{ARRAY_OF, array_of};
pub use in_order::aggregate_in_order;
pub use independent::IndependentSubqueries;
pub use lower::from_datafusion;
pub use may_be_null::may_be_null;
pub use now::{PROCTIME, at_clock, is_clock, proctime_udf};
pub use row_order::{keep_row_order, row_order, row_order_args};
pub use rule::with_own_casts;
pub use session::{error_from_datafusion, register_all, register_clock, session_config, session_state_builder};
pub use udf::{SqlBody, native_call, sql_function};

#[cfg(test)]
mod tests;
