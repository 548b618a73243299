//! The one integration-test binary: a module per subject. `MILLSTREAM_FULL=1` runs the long forms too.

// Tests may unwrap and print, as in the library's `cfg(test)`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod bad_input;
mod cancel;
mod cli;
mod clients;
mod constant_sum;
mod crash;
mod docs;
mod epochs;
mod examples;
mod files;
mod flights;
mod freed;
mod fuzz;
mod generated;
mod golden;
mod harness;
mod limits;
mod login;
mod nexmark;
mod privileges;
mod rust_client;
mod secrets;
mod slt;
mod statements;
mod subscribe;
mod suite;
mod tpch;
