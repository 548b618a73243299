//! Functions of several rows: unnest and generate_series behind a relation, padded or not, numbered, and in the list of a SELECT.

use millstream::base::random::Random;

use super::query::{Draft, Feature, Generator, Kind, Scope, expression, group, pick, projection};

impl Generator {
    /// A relation whose rows are spread over arrays made of their columns.
    pub(super) fn spread(&self, random: &mut Random) -> Draft {
        let mut draft = Draft::default();
        let mut scope = self.one_relation(random, &mut draft);
        let before = scope.clone();
        match random.below(5) {
            0 => {
                draft.has(Feature::Unnest);
                let (array, kind) = array(random, &before);
                draft.from.push_str(&format!(", unnest({array}) AS u(e)"));
                scope.push(("u.e".into(), kind));
            }
            1 => {
                draft.has(Feature::Unnest);
                draft.has(Feature::Ordinality);
                let ((one, kind), (two, other)) = (array(random, &before), array(random, &before));
                draft.from.push_str(&format!(" CROSS JOIN LATERAL unnest({one}, {two}) WITH ORDINALITY AS u(e, f, n)"));
                scope.extend([("u.e".into(), kind), ("u.f".into(), other), ("u.n".into(), Kind::Int)]);
            }
            2 => {
                draft.has(Feature::Series);
                draft.has(Feature::LateralLeft);
                let (series, kind) = series(random, &before);
                draft.from.push_str(&format!(" LEFT JOIN LATERAL {series} AS g(e) ON true"));
                scope.push(("g.e".into(), kind));
            }
            3 => {
                draft.has(Feature::Series);
                let (series, kind) = series(random, &before);
                draft.from.push_str(&format!(", {series} AS g"));
                scope.push(("g".into(), kind));
            }
            _ => return self.listed(random, draft, &scope),
        }
        self.maybe_filter(random, &scope, &mut draft, 3);
        if random.one_in(2) {
            group(random, &scope, &mut draft, 6);
            return draft;
        }
        draft.has(Feature::Projection);
        draft.select = projection(random, &scope);
        draft.select.extend(scope.into_iter().skip(before.len()));
        draft
    }

    /// Functions of several rows side by side in the list of a SELECT.
    fn listed(&self, random: &mut Random, mut draft: Draft, scope: &Scope) -> Draft {
        draft.has(Feature::ListedRows);
        self.maybe_filter(random, scope, &mut draft, 3);
        draft.select = projection(random, scope);
        let (array, kind) = array(random, scope);
        draft.select.push((format!("unnest({array})"), kind));
        if random.one_in(2) {
            draft.select.push(series(random, scope));
        }
        draft
    }
}

/// Up to three values of one kind, NULL perhaps among them.
fn array(random: &mut Random, scope: &Scope) -> (String, Kind) {
    let kinds: Vec<Kind> = [Kind::Int, Kind::Text, Kind::Date]
        .into_iter()
        .filter(|kind| scope.iter().any(|(_, has)| has == kind))
        .collect();
    let kind = random.pick(&kinds).copied().unwrap_or(Kind::Int);
    let values: Vec<String> = (0..1 + random.below(3)).map(|_| expression(random, scope, kind, 0)).collect();
    let array = format!("ARRAY[{}]", values.join(", "));
    let whole = format!("CASE WHEN {} THEN {array} END", expression(random, scope, Kind::Boolean, 1));
    (if random.one_in(3) { whole } else { array }, kind)
}

/// Some numbers or times, none where the end lies before the start.
fn series(random: &mut Random, scope: &Scope) -> (String, Kind) {
    if random.one_in(3) && scope.iter().any(|(_, kind)| *kind == Kind::Timestamp) {
        let start = expression(random, scope, Kind::Timestamp, 0);
        let (stop, step) = (pick(random, &["3 hours", "50 minutes"]), pick(random, &["1 hour", "25 minutes"]));
        return (format!("generate_series({start}, {start} + INTERVAL '{stop}', INTERVAL '{step}')"), Kind::Timestamp);
    }
    let stop = expression(random, scope, Kind::Int, 0);
    let step = pick(random, &["", ", 2", ", -1"]);
    (format!("generate_series(0, ({stop}) % 4{step})"), Kind::Int)
}
