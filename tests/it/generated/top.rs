//! The first rows: LIMIT and OFFSET, WITH TIES, numbers below a bound per group, DISTINCT ON.

use millstream::base::random::Random;

use super::query::{Draft, Feature, Generator, Kind, Scope, View, pick, predicate, projection};

impl Generator {
    /// The first rows of a relation, or of each of its groups.
    pub(super) fn top(&mut self, random: &mut Random, i: usize) -> View {
        let mut draft = Draft::default();
        let relation = self.relation(random, |_| true);
        draft.reads.push(relation.name.clone());
        if relation.name.starts_with('v') {
            draft.has(Feature::ViewOnView);
        }
        // Its own name, lest ORDER BY mean a column of the result.
        draft.from = format!("{} r", relation.name);
        let scope: Scope = relation.columns.iter().map(|(name, kind)| (format!("r.{name}"), *kind)).collect();
        self.maybe_filter(random, &scope, &mut draft, 3);
        let sql = match random.below(6) {
            0 | 1 => limited(random, &scope, &mut draft),
            2..=4 => numbered(random, &scope, &mut draft),
            _ => distinct_on(random, &scope, &mut draft),
        };
        self.finish(i, sql, draft)
    }
}

/// ORDER BY keys without the words.
pub(super) fn order(random: &mut Random, scope: &Scope, keys: u64) -> String {
    let sortable: Vec<&(String, Kind)> =
        scope.iter().filter(|(_, kind)| !matches!(kind, Kind::Interval | Kind::Double)).collect();
    let one = |_| {
        let Some((name, kind)) = random.pick(&sortable).map(|column| (*column).clone()) else {
            return format!("({}) IS NULL", scope[0].0);
        };
        // Few values make peers.
        let key = if kind == Kind::Int && random.one_in(2) { format!("({name}) % 4") } else { name };
        format!("{key}{}{}", pick(random, &["", " DESC", ""]), pick(random, &["", " NULLS FIRST", " NULLS LAST", ""]))
    };
    (0..keys).map(one).collect::<Vec<_>>().join(", ")
}

fn limited(random: &mut Random, scope: &Scope, draft: &mut Draft) -> String {
    draft.has(Feature::Limit);
    draft.select = projection(random, scope);
    let query = draft.sql();
    let rows = random.below(12);
    // DataFusion takes a column of the input for ambiguous when one of the result has its name.
    let taken: Vec<String> = (0..draft.select.len()).map(|i| format!("r.c{i}")).collect();
    let free: Scope = scope.iter().filter(|(name, _)| !taken.contains(name)).cloned().collect();
    let sortable = free.iter().any(|(_, kind)| !matches!(kind, Kind::Interval | Kind::Double));
    if random.one_in(6) || !sortable {
        return format!("{query} LIMIT {rows}");
    }
    let keys = 1 + random.below(2);
    let order = order(random, &free, keys);
    let offset = if random.one_in(2) {
        draft.has(Feature::Offset);
        format!(" OFFSET {}", random.below(6))
    } else {
        String::new()
    };
    match random.below(4) {
        0 | 1 => {
            draft.has(Feature::WithTies);
            format!("{query} ORDER BY {order}{offset} FETCH FIRST {rows} ROWS WITH TIES")
        }
        2 => format!("{query} ORDER BY {order}{offset} FETCH NEXT {rows} ROWS ONLY"),
        _ => format!("{query} ORDER BY {order} LIMIT {rows}{offset}"),
    }
}

/// PARTITION BY a column or two with few values, or nothing.
pub(super) fn partition(random: &mut Random, scope: &Scope) -> String {
    let mut keys = Vec::new();
    for _ in 0..random.below(3) {
        let (name, kind) = random.pick(scope).expect("not empty").clone();
        keys.push(match kind {
            Kind::Int => format!("({name}) % 3"),
            Kind::Timestamp | Kind::TimestampTz => format!("date_trunc('hour', {name})"),
            Kind::Double | Kind::Decimal => format!("{name} > 10"),
            Kind::Text | Kind::Boolean | Kind::Date | Kind::Interval => name,
        });
    }
    if keys.is_empty() { String::new() } else { format!("PARTITION BY {} ", keys.join(", ")) }
}

fn numbered(random: &mut Random, scope: &Scope, draft: &mut Draft) -> String {
    let (function, feature) = *random
        .pick(&[
            ("row_number", Feature::TopRowNumber),
            ("rank", Feature::TopRank),
            ("dense_rank", Feature::TopDenseRank),
        ])
        .expect("not empty");
    draft.has(feature);
    let columns = projection(random, scope);
    let keys = 1 + random.below(2);
    let window = format!("{}ORDER BY {}", partition(random, scope), order(random, scope, keys));
    draft.select = columns.clone();
    draft.select.push((format!("{function}() OVER ({window})"), Kind::Int));
    let inner = draft.sql();
    let number = format!("c{}", columns.len());
    let bound = match random.below(4) {
        0 => format!("{number} = 1"),
        1 => format!("{number} < {}", 2 + random.below(4)),
        2 => format!("{number} BETWEEN {} AND {}", 1 + random.below(2), 2 + random.below(3)),
        _ => format!("{number} <= {}", 1 + random.below(4)),
    };
    let named: Scope = columns.iter().enumerate().map(|(i, (_, kind))| (format!("c{i}"), *kind)).collect();
    let more = if random.one_in(4) { format!(" AND {}", predicate(random, &named, 1)) } else { String::new() };
    let shown = if random.one_in(2) {
        draft.has(Feature::RankShown);
        draft.select = named.iter().cloned().chain([(number, Kind::Int)]).collect();
        "*".to_owned()
    } else {
        draft.select = named.clone();
        named.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>().join(", ")
    };
    format!("SELECT {shown} FROM ({inner}) q WHERE {bound}{more}")
}

fn distinct_on(random: &mut Random, scope: &Scope, draft: &mut Draft) -> String {
    draft.has(Feature::DistinctOn);
    let keys: Vec<&(String, Kind)> = scope.iter().filter(|(_, kind)| *kind != Kind::Double).collect();
    let key = random.pick(&keys).copied().or_else(|| scope.first()).expect("a relation has columns").0.clone();
    draft.select = projection(random, scope);
    let plain = draft.sql();
    let body = plain.strip_prefix("SELECT ").unwrap_or(&plain);
    let count = 1 + random.below(2);
    let rest = order(random, scope, count);
    let order = if random.one_in(4) { String::new() } else { format!(" ORDER BY {key} DESC, {rest}") };
    format!("SELECT DISTINCT ON ({key}) {body}{order}")
}
