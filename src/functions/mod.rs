//! Floor 2: expressions and SQL functions: our expression IR, its kernels with fault masks, retractable aggregates, and what of it DataFusion is given.

mod aggregate;
mod bridge;
mod cast;
mod compiled;
mod display;
mod expr;
mod extract;
mod fault;
mod kernels;
mod literal;
mod native;
mod refused;
mod scalar;
mod typing;
mod udf_call;

// The text forms and the calendar lie on the floor below, where formats and wire find them too.
use crate::types::calendar;
use crate::types::text::{read as parse, write as text};

pub use crate::types::text::write::{
    write_bytea, write_date, write_decimal, write_double, write_interval, write_real, write_time, write_timestamp,
    write_value,
};
pub use aggregate::{
    Accumulators, AggregateCall, AggregateFunction, Aggregates, Arguments, FloatSum, Folding, Keeping, Order, Wide,
};
pub use bridge::{
    ARRAY_OF, IndependentSubqueries, PROCTIME, SqlBody, aggregate_from_datafusion, aggregate_function,
    aggregate_in_order, array_of, at_clock, error_from_datafusion, from_datafusion, is_clock, keep_row_order,
    may_be_null, native_call, proctime_udf, register_all, register_clock, row_order, row_order_args, session_config,
    session_state_builder, sql_function, with_own_casts,
};
pub use bridge::{outward, plain};
pub use cast::exists as can_cast;
pub use compiled::Compiled;
pub use display::Named;
pub use expr::{BinaryOp, Expr, Test};
pub use fault::{Evaluated, Fault, Faults, Reason, SEVERAL_ROWS};
pub use literal::{Digits, FloatBits, Literal, Value};
pub use refused::why as refused_function;
pub(crate) use scalar::exists as is_native;

#[cfg(test)]
mod tests;
