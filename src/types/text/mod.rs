//! The text forms of SQL values, read and written as PostgreSQL does (`DateStyle = ISO, YMD`, `IntervalStyle = postgres`,
//! time zone UTC).

mod column;
mod interval;
pub mod nested;
pub mod read;
mod uuid;
pub mod write;

pub use column::read_column;
