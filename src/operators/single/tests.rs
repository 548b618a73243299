//! Scripts of `single`.

use super::*;
use crate::operators::OperatorSpec;
use crate::operators::workbench::{run_scripts, schema};

#[test]
fn scripts() {
    run_scripts("single", &|name| {
        let input = schema("v bigint");
        (name == "one").then(|| (OperatorSpec::Single(SingleSpec { input: input.clone() }), vec![input]))
    });
}
