//! Tests of the state tables.
