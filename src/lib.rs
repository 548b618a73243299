//! Millstream: a streaming SQL engine. The rooms, lowest floor first; a room imports only rooms on a lower floor.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout))]

pub mod base;

pub mod types;

pub mod connectors;
pub mod formats;
pub mod functions;
pub mod storage;

pub mod catalog;
pub mod state;

pub mod operators;

pub mod dataflow;

pub mod serving;

pub mod plan;

pub mod sql;

pub mod engine;

pub mod wire;

pub mod cli;

#[cfg(test)]
mod tidy;
