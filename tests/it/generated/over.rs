//! Window functions: numbers, neighbours and aggregates over frames of ROWS, RANGE and GROUPS.

use millstream::base::random::Random;

use super::query::{Draft, Feature, Generator, Kind, Scope, View, pick, projection};
use super::top::{order, partition};

impl Generator {
    /// Some columns, and window functions.
    pub(super) fn over(&mut self, random: &mut Random, i: usize) -> View {
        let mut draft = Draft::default();
        let scope = self.one_relation(random, &mut draft);
        if draft.reads.iter().any(|name| name.starts_with('v')) {
            draft.has(Feature::ViewOnView);
        }
        self.maybe_filter(random, &scope, &mut draft, 4);
        draft.select = projection(random, &scope);
        // DataFusion's batch run breaks ties of several windows in one SELECT in its own way, so all have one order.
        let calls = 1 + random.below(2);
        let kinds = if calls == 1 { 8 } else { 4 };
        let partition = partition(random, &scope);
        draft.has(if partition.is_empty() { Feature::OverAll } else { Feature::OverPartition });
        let keys = 1 + random.below(2);
        let order = format!("ORDER BY {}", order(random, &scope, keys));
        for _ in 0..calls {
            let call = call(random, &scope, (&partition, &order), kinds, &mut draft);
            draft.select.push(call);
        }
        let sql = draft.sql();
        self.finish(i, sql, draft)
    }
}

fn call(
    random: &mut Random,
    scope: &Scope,
    (partition, order): (&str, &str),
    kinds: u64,
    draft: &mut Draft,
) -> (String, Kind) {
    let (name, kind) = random.pick(scope).expect("not empty").clone();
    match random.below(kinds) {
        0 => {
            draft.has(Feature::OverNumbers);
            let function = pick(random, &["row_number()", "rank()", "dense_rank()", "ntile(3)", "ntile(4)"]);
            (format!("{function} OVER ({partition}{order})"), Kind::Int)
        }
        1 => {
            draft.has(Feature::OverShares);
            (format!("{}() OVER ({partition}{order})", pick(random, &["percent_rank", "cume_dist"])), Kind::Double)
        }
        2 | 3 => {
            draft.has(Feature::OverNeighbours);
            let function = pick(random, &["lag", "lead"]);
            let ignores = random.one_in(2);
            let offset = pick(random, &["", ", 2", ", 1", ", 3"]);
            let default = if offset.is_empty() || kind != Kind::Text { "" } else { ", 'none'" };
            let nulls = if ignores {
                draft.has(Feature::OverIgnoreNulls);
                " IGNORE NULLS"
            } else {
                ""
            };
            (format!("{function}({name}{offset}{default}){nulls} OVER ({partition}{order})"), kind)
        }
        4 => {
            draft.has(Feature::OverValues);
            let function =
                pick(random, &["first_value({})", "last_value({})", "nth_value({}, 2)"]).replace("{}", &name);
            // Which of several peers is first is for the whole row to say; DataFusion's batch run asks it for ROWS alone (it
            // sorts by what a window requires, whatever is sorted beneath).
            let frames =
                ["2 PRECEDING AND CURRENT ROW", "1 PRECEDING AND 1 FOLLOWING", "CURRENT ROW AND UNBOUNDED FOLLOWING"];
            let frame = pick(random, &frames);
            let nulls = if random.one_in(3) { " IGNORE NULLS" } else { "" };
            (format!("{function}{nulls} OVER ({partition}{order} ROWS BETWEEN {frame})"), kind)
        }
        _ => aggregate(random, scope, partition, order, draft),
    }
}

fn aggregate(random: &mut Random, scope: &Scope, partition: &str, order: &str, draft: &mut Draft) -> (String, Kind) {
    draft.has(Feature::OverAggregate);
    let of = |kinds: &[Kind]| -> Vec<(String, Kind)> {
        scope.iter().filter(|(_, kind)| kinds.contains(kind)).cloned().collect()
    };
    let numbers = of(&[Kind::Int, Kind::Decimal, Kind::Double]);
    let comparable = of(&[Kind::Int, Kind::Decimal, Kind::Text, Kind::Timestamp, Kind::Date]);
    let (call, kind) = match (random.below(4), random.pick(&numbers), random.pick(&comparable)) {
        (0, Some((name, kind)), _) => (format!("sum({name})"), if *kind == Kind::Int { Kind::Decimal } else { *kind }),
        (1, Some((name, kind)), _) => {
            (format!("avg({name})"), if *kind == Kind::Double { Kind::Double } else { Kind::Decimal })
        }
        (2, _, Some((name, kind))) => (format!("{}({name})", pick(random, &["min", "max"])), *kind),
        _ => ("count(*)".to_owned(), Kind::Int),
    };
    match random.below(8) {
        0 => (format!("{call} OVER ({})", partition.trim_end()), kind),
        1 => (format!("{call} OVER ({partition}{order})"), kind),
        2 => {
            // By value, over one key.
            draft.has(Feature::OverRange);
            let ints = of(&[Kind::Int]);
            let times = of(&[Kind::Timestamp, Kind::TimestampTz]);
            let (key, step) = match (random.pick(&ints), random.pick(&times)) {
                (Some((name, _)), _) if random.one_in(2) => (name.clone(), "3"),
                (_, Some((name, _))) => (name.clone(), "INTERVAL '30 minutes'"),
                (Some((name, _)), None) => (name.clone(), "2"),
                (None, None) => return (format!("{call} OVER ({partition}{order})"), kind),
            };
            let direction = pick(random, &["", " DESC"]);
            let frame = pick(
                random,
                &[
                    "{} PRECEDING AND CURRENT ROW",
                    "{} PRECEDING AND {} FOLLOWING",
                    "UNBOUNDED PRECEDING AND {} PRECEDING",
                    "{} FOLLOWING AND UNBOUNDED FOLLOWING",
                ],
            );
            let frame = frame.replace("{}", step);
            (format!("{call} OVER ({partition}ORDER BY {key}{direction} RANGE BETWEEN {frame})"), kind)
        }
        _ => (format!("{call} OVER ({partition}{order}{})", frame(random, draft)), kind),
    }
}

/// A frame in rows, groups or peers.
fn frame(random: &mut Random, draft: &mut Draft) -> String {
    let bounds = pick(
        random,
        &[
            "1 PRECEDING AND 1 FOLLOWING",
            "2 PRECEDING AND CURRENT ROW",
            "UNBOUNDED PRECEDING AND CURRENT ROW",
            "CURRENT ROW AND UNBOUNDED FOLLOWING",
            "3 PRECEDING AND 1 PRECEDING",
            "1 FOLLOWING AND 2 FOLLOWING",
            "UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
            "UNBOUNDED PRECEDING AND 1 FOLLOWING",
        ],
    );
    match random.below(4) {
        0 => {
            draft.has(Feature::OverGroups);
            format!(" GROUPS BETWEEN {bounds}")
        }
        1 => {
            draft.has(Feature::OverRange);
            let bounds = pick(
                random,
                &[
                    "UNBOUNDED PRECEDING AND CURRENT ROW",
                    "CURRENT ROW AND UNBOUNDED FOLLOWING",
                    "CURRENT ROW AND CURRENT ROW",
                ],
            );
            format!(" RANGE BETWEEN {bounds}")
        }
        _ => {
            draft.has(Feature::OverRows);
            format!(" ROWS BETWEEN {bounds}")
        }
    }
}
