//! Scripts of `union`, and random input on up to four ports.

use super::*;
use crate::base::random::Random;
use crate::operators::OperatorSpec;
use crate::operators::workbench::{Case, Moment, RandomRows, ZSet, run_cases, run_scripts, schema};

#[test]
fn scripts() {
    run_scripts("union", &|name| {
        let spec = OperatorSpec::Union(UnionSpec { schema: schema("a bigint, b varchar"), inputs: 2 });
        (name == "of two").then(|| (spec, vec![schema("a bigint, b varchar"), schema("x bigint, y varchar")]))
    });
}

#[test]
fn random_input_is_added_up() {
    run_cases("union::tests::random_input_is_added_up", 200, |random: &mut Random| {
        let inputs = 1 + random.below(4) as usize;
        let rows = RandomRows::new(schema("a double, b varchar, c interval"));
        Case {
            spec: OperatorSpec::Union(UnionSpec { schema: rows.schema.clone(), inputs }),
            inputs: vec![rows; inputs],
            retracts: true,
            window_end: None,
            answer: Box::new(|moment: &Moment<'_>| {
                let mut sum = ZSet::new(moment.inputs[0].schema.clone());
                moment.inputs.iter().for_each(|input| sum.add_all(input));
                vec![sum]
            }),
            emitted: None,
        }
    });
}
