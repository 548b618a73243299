//! Scripts of `proctime`, and random rows against the epochs in which they came.

use super::*;
use crate::base::random::Random;
use crate::operators::OperatorSpec;
use crate::operators::workbench::{Case, Moment, RandomRows, ZSet, run_cases, run_scripts, schema};

fn input() -> Schema {
    schema("k bigint, g varchar")
}

#[test]
fn scripts() {
    run_scripts("proctime", &|name| {
        let append_only = match name {
            "append-only" => true,
            "revised" => false,
            _ => return None,
        };
        Some((OperatorSpec::Proctime(ProctimeSpec { input: input(), append_only }), vec![input()]))
    });
}

/// Each row as often as it came, and went, with the clock.
struct Came {
    /// Row, clock and how often; newest last.
    rows: Vec<(Vec<u8>, i64, i64)>,
}

impl Came {
    fn answer(&mut self, moment: &Moment<'_>) -> Vec<ZSet> {
        for (row, &weight) in &moment.changes[0].rows {
            if weight > 0 {
                self.rows.push((row.clone(), moment.clock_us, weight));
            }
            let mut gone = (-weight).max(0);
            for (_, _, times) in self.rows.iter_mut().rev().filter(|(other, ..)| other == row) {
                let take = gone.min(*times);
                *times -= take;
                gone -= take;
            }
        }
        let spec = ProctimeSpec { input: input(), append_only: false };
        let mut found = ZSet::new(spec.output());
        let operator = spec.build();
        for (row, clock, times) in self.rows.iter().filter(|(_, _, times)| *times > 0) {
            let columns = operator.codec.decode([row.as_slice()]).unwrap();
            found.add(&DeltaBatch::new(operator.stamped(columns, vec![*clock]).unwrap(), vec![*times]).unwrap());
        }
        vec![found]
    }
}

#[test]
fn random_rows_keep_the_clock_they_came_with() {
    run_cases("proctime::tests::random_rows_keep_the_clock_they_came_with", 300, |random: &mut Random| {
        let append_only = random.one_in(3);
        let mut came = Came { rows: Vec::new() };
        Case {
            inputs: vec![RandomRows { schema: input(), extremes: true }],
            retracts: !append_only,
            window_end: None,
            answer: Box::new(move |moment| came.answer(moment)),
            emitted: None,
            spec: OperatorSpec::Proctime(ProctimeSpec { input: input(), append_only }),
        }
    });
}
