//! Floor 10: the PostgreSQL protocol, version 3.0. The only room with `pgwire`: its messages are what we send; what
//! comes in is decoded here (`frame.rs`), bounded before it is believed. Knows nothing of SQL: it speaks to a
//! [`SqlSession`](crate::engine::SqlSession).
//!
//! A connection is one task: [`server`] accepts it and says hello, [`connection`] answers message after message,
//! [`socket`] holds its buffers. While a statement runs the task waits for five things at once ([`attend`]): its
//! result, a cancel request, the client's end, the timeout, and the next heartbeat.

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod attend;
mod column;
mod connection;
mod copy;
mod copy_in;
mod extended;
mod frame;
mod kept;
mod login;
mod messages;
mod parameters;
mod pg_type;
mod rows;
mod server;
mod socket;
mod startup;
#[cfg(test)]
mod tests;
pub mod text;
mod tls;

pub use column::Column;
pub use copy::CopyLines;
pub use server::Server;
pub use tls::Tls;
