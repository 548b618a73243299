//! The workbench: a host of operators for tests, scripts in text, and random oracles. Test code only.
//!
//! [`Bench`] plays the host of the operator contract on 1 to n subtasks: it routes rows by key group, answers `Fetch`,
//! repeats `More`, cuts and reloads state with another number of subtasks, and adds up what comes out per epoch.

mod bench;
mod oracle;
mod random;
mod script;
mod values;
mod zset;

pub(in crate::operators) use bench::Bench;
pub(in crate::operators) use oracle::{Case, Moment, run_cases};
pub(in crate::operators) use random::RandomRows;
pub(in crate::operators) use script::run_scripts;
pub(in crate::operators) use values::{batch_of_text, row_text, schema};
pub(in crate::operators) use zset::ZSet;
