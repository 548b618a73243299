//! The one integration-test binary: a module per subject. `MILLSTREAM_FULL=1` runs the long forms too.

mod constant_sum;
mod flights;
mod harness;
