//! Aggregates beyond count, sum, avg, min and max.
//!
//! A child of `query` (by path), so that it sees its drafts.

use millstream::base::random::Random;

use super::{Draft, Feature, Generator, Kind, Scope, group, pick, predicate};

impl Generator {
    /// GROUP BY with one to three of them.
    pub(super) fn aggregated(&self, random: &mut Random) -> Draft {
        let mut draft = Draft::default();
        let scope = self.one_relation(random, &mut draft);
        self.maybe_filter(random, &scope, &mut draft, 3);
        group(random, &scope, &mut draft, 6);
        if !draft.group.is_empty() && random.one_in(2) {
            in_sets(random, &mut draft);
        }
        for _ in 0..random.between(1, 3) {
            let (mut call, kind) = any_call(random, &scope, &mut draft);
            if !call.ends_with("NULLS") && random.one_in(5) {
                draft.has(Feature::AggregateFilter);
                call = format!("{call} FILTER (WHERE {})", predicate(random, &scope, 1));
            }
            draft.select.push((call, kind));
        }
        draft
    }
}

/// Makes GROUP BY one with several sets.
fn in_sets(random: &mut Random, draft: &mut Draft) {
    draft.has(Feature::GroupingSets);
    let keys = draft.group.join(", ");
    draft.select.push((format!("grouping({keys})"), Kind::Int));
    let first = draft.group[0].clone();
    draft.group = vec![match random.below(4) {
        0 => format!("ROLLUP ({keys})"),
        1 => format!("CUBE ({keys})"),
        2 => format!("GROUPING SETS (({keys}), ())"),
        _ => format!("GROUPING SETS (({keys}), ({first}), ({first}))"),
    }];
}

fn any_call(random: &mut Random, scope: &Scope, draft: &mut Draft) -> (String, Kind) {
    let of = |kinds: &[Kind]| -> Vec<String> {
        scope.iter().filter(|(_, kind)| kinds.contains(kind)).map(|(name, _)| name.clone()).collect()
    };
    let (ints, texts) = (of(&[Kind::Int]), of(&[Kind::Text]));
    let numbers = of(&[Kind::Int, Kind::Decimal, Kind::Double]);
    match random.below(5) {
        0 if !ints.is_empty() => {
            draft.has(Feature::BitsAndBooleans);
            if random.one_in(2) {
                let condition = predicate(random, scope, 1);
                return (format!("{}({condition})", pick(random, &["bool_and", "bool_or", "every"])), Kind::Boolean);
            }
            let name = random.pick(&ints).expect("not empty").clone();
            (format!("{}({name})", pick(random, &["bit_and", "bit_or", "bit_xor"])), Kind::Int)
        }
        1 if !numbers.is_empty() => {
            draft.has(Feature::Moments);
            let (y, x) = (random.pick(&numbers).expect("not empty").clone(), random.pick(&numbers).expect("not empty"));
            if random.one_in(2) {
                let function = pick(random, &["var_pop", "var_samp", "stddev", "stddev_pop", "variance"]);
                let double = scope.iter().any(|(name, kind)| *name == y && *kind == Kind::Double);
                return (format!("{function}({y})"), if double { Kind::Double } else { Kind::Decimal });
            }
            let function = pick(
                random,
                &["corr", "covar_pop", "covar_samp", "regr_slope", "regr_intercept", "regr_r2", "regr_sxx"],
            );
            (format!("{function}({y}, {x})"), Kind::Double)
        }
        2 if !numbers.is_empty() => {
            draft.has(Feature::Percentiles);
            let name = random.pick(&numbers).expect("not empty").clone();
            let fraction = pick(random, &["0", "0.25", "0.5", "0.9", "1"]);
            let direction = pick(random, &["", " DESC"]);
            match random.below(3) {
                0 => (format!("percentile_cont({fraction}) WITHIN GROUP (ORDER BY {name}{direction})"), Kind::Double),
                1 => (format!("median({name})"), Kind::Double),
                _ => {
                    let (name, kind) = random.pick(scope).expect("not empty").clone();
                    let call = match random.below(2) {
                        0 => format!("percentile_disc({fraction})"),
                        _ => "mode()".to_string(),
                    };
                    (format!("{call} WITHIN GROUP (ORDER BY {name}{direction})"), kind)
                }
            }
        }
        3 if !texts.is_empty() => {
            draft.has(Feature::StringAgg);
            let name = random.pick(&texts).expect("not empty").clone();
            let by = &random.pick(scope).expect("not empty").0;
            let call = match random.below(4) {
                0 => format!("string_agg({name}, ',')"),
                1 => format!("string_agg(DISTINCT {name}, '+' ORDER BY {name} DESC)"),
                2 => format!("string_agg({name}, ';' ORDER BY {by} DESC NULLS LAST)"),
                _ => format!("string_agg({name}, '' ORDER BY {by} NULLS FIRST, {name} DESC)"),
            };
            (call, Kind::Text)
        }
        _ => {
            draft.has(Feature::FirstLast);
            let (name, kind) = random.pick(scope).expect("not empty").clone();
            let by = &random.pick(scope).expect("not empty").0;
            let function = pick(random, &["first_value", "last_value"]);
            let order = pick(random, &["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
            let nulls = pick(random, &["", "", " IGNORE NULLS"]);
            (format!("{function}({name} ORDER BY {by}{order}){nulls}"), kind)
        }
    }
}
