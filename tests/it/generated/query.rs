//! Random queries: a view's SQL, its columns' kinds, and which features it has.

use std::collections::BTreeMap;

use millstream::base::random::Random;
use millstream::types::SqlType;

use super::tables::Table;

#[path = "aggregates.rs"]
mod aggregates;
#[path = "clock.rs"]
mod clock;
#[path = "joins.rs"]
mod joins;

/// What the coverage is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    Projection,
    Filter,
    TemporalFilter,
    Tumble,
    Hop,
    Cumulate,
    Session,
    GroupBy,
    GlobalAggregate,
    Count,
    Sum,
    Avg,
    MinMax,
    BitsAndBooleans,
    Moments,
    Percentiles,
    FirstLast,
    StringAgg,
    GroupingSets,
    AggregateFilter,
    Having,
    Join,
    Residual,
    GroupedJoin,
    ViewOnView,
    LeftJoin,
    RightJoin,
    FullJoin,
    OuterResidual,
    Semi,
    Anti,
    NullSafe,
    Using,
    NWay,
    RangeJoin,
    NotIn,
    SubQueryValue,
    ScalarSubQuery,
    CorrelatedSubQuery,
    Lateral,
    SubQuery,
    UnionAll,
    Distinct,
    Union,
    Intersect,
    Except,
    IntersectAll,
    ExceptAll,
    Limit,
    Offset,
    WithTies,
    TopRowNumber,
    TopRank,
    TopDenseRank,
    RankShown,
    DistinctOn,
    OverAll,
    OverPartition,
    OverNumbers,
    OverShares,
    OverNeighbours,
    OverIgnoreNulls,
    OverValues,
    OverAggregate,
    OverRows,
    OverRange,
    OverGroups,
    Unnest,
    Ordinality,
    Series,
    LateralLeft,
    ListedRows,
    SqlFunction,
    Jsonb,
    MergedStar,
    CorrelatedRange,
    AboutTheRow,
}

impl Feature {
    pub const ALL: &[Feature] = &[
        Feature::Projection,
        Feature::Filter,
        Feature::TemporalFilter,
        Feature::Tumble,
        Feature::Hop,
        Feature::Cumulate,
        Feature::Session,
        Feature::GroupBy,
        Feature::GlobalAggregate,
        Feature::Count,
        Feature::Sum,
        Feature::Avg,
        Feature::MinMax,
        Feature::BitsAndBooleans,
        Feature::Moments,
        Feature::Percentiles,
        Feature::FirstLast,
        Feature::StringAgg,
        Feature::GroupingSets,
        Feature::AggregateFilter,
        Feature::Having,
        Feature::Join,
        Feature::Residual,
        Feature::GroupedJoin,
        Feature::ViewOnView,
        Feature::LeftJoin,
        Feature::RightJoin,
        Feature::FullJoin,
        Feature::OuterResidual,
        Feature::Semi,
        Feature::Anti,
        Feature::NullSafe,
        Feature::Using,
        Feature::NWay,
        Feature::RangeJoin,
        Feature::NotIn,
        Feature::SubQueryValue,
        Feature::ScalarSubQuery,
        Feature::CorrelatedSubQuery,
        Feature::Lateral,
        Feature::SubQuery,
        Feature::UnionAll,
        Feature::Distinct,
        Feature::Union,
        Feature::Intersect,
        Feature::Except,
        Feature::IntersectAll,
        Feature::ExceptAll,
        Feature::Limit,
        Feature::Offset,
        Feature::WithTies,
        Feature::TopRowNumber,
        Feature::TopRank,
        Feature::TopDenseRank,
        Feature::RankShown,
        Feature::DistinctOn,
        Feature::OverAll,
        Feature::OverPartition,
        Feature::OverNumbers,
        Feature::OverShares,
        Feature::OverNeighbours,
        Feature::OverIgnoreNulls,
        Feature::OverValues,
        Feature::OverAggregate,
        Feature::OverRows,
        Feature::OverRange,
        Feature::OverGroups,
        Feature::Unnest,
        Feature::Ordinality,
        Feature::Series,
        Feature::LateralLeft,
        Feature::ListedRows,
        Feature::SqlFunction,
        Feature::Jsonb,
        Feature::MergedStar,
        Feature::CorrelatedRange,
        Feature::AboutTheRow,
    ];
}

/// The kinds of value that expressions are made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Int,
    Decimal,
    Double,
    Text,
    Boolean,
    Timestamp,
    TimestampTz,
    Date,
    Interval,
}

impl Kind {
    fn of(ty: &SqlType) -> Kind {
        match ty {
            SqlType::SmallInt | SqlType::Int | SqlType::BigInt => Kind::Int,
            SqlType::Decimal { .. } => Kind::Decimal,
            SqlType::Real | SqlType::Double => Kind::Double,
            SqlType::Varchar | SqlType::Bytea => Kind::Text,
            SqlType::Boolean => Kind::Boolean,
            SqlType::Timestamp => Kind::Timestamp,
            SqlType::TimestampTz | SqlType::Time => Kind::TimestampTz,
            SqlType::Date => Kind::Date,
            SqlType::Interval => Kind::Interval,
            SqlType::Uuid | SqlType::Jsonb | SqlType::Array(_) | SqlType::Row(_) => Kind::Text,
        }
    }
}

/// A view: `CREATE MATERIALIZED VIEW name AS ...`.
pub struct View {
    pub name: String,
    pub sql: String,
    pub features: Vec<Feature>,
    /// The relations that it names.
    reads: Vec<String>,
}

impl View {
    /// Its own name and those of the views below it.
    pub fn needs(&self, views: &[View]) -> Vec<String> {
        let mut needed = vec![self.name.clone()];
        for view in views.iter().filter(|view| self.reads.contains(&view.name)) {
            needed.extend(view.needs(views));
        }
        needed
    }
}

/// Something to stand in FROM.
#[derive(Clone)]
pub(super) struct Relation {
    pub(super) name: String,
    pub(super) columns: Vec<(String, Kind)>,
    /// Views below it.
    depth: usize,
    is_table: bool,
}

/// What can be named in an expression: its SQL and its kind.
pub(super) type Scope = Vec<(String, Kind)>;

/// A query under construction.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) select: Vec<(String, Kind)>,
    pub(super) from: String,
    pub(super) filter: Option<String>,
    pub(super) group: Vec<String>,
    pub(super) having: Option<String>,
    pub(super) distinct: bool,
    pub(super) features: Vec<Feature>,
    pub(super) reads: Vec<String>,
}

impl Draft {
    pub(super) fn has(&mut self, feature: Feature) {
        if !self.features.contains(&feature) {
            self.features.push(feature);
        }
    }

    pub(super) fn sql(&self) -> String {
        let select: Vec<String> =
            self.select.iter().enumerate().map(|(i, (sql, _))| format!("{sql} AS c{i}")).collect();
        let distinct = if self.distinct { "DISTINCT " } else { "" };
        let mut sql = format!("SELECT {distinct}{} FROM {}", select.join(", "), self.from);
        if let Some(filter) = &self.filter {
            sql.push_str(&format!(" WHERE {filter}"));
        }
        if !self.group.is_empty() {
            sql.push_str(&format!(" GROUP BY {}", self.group.join(", ")));
        }
        if let Some(having) = &self.having {
            sql.push_str(&format!(" HAVING {having}"));
        }
        sql
    }
}

/// Makes views over tables and over the views that it made before.
pub struct Generator {
    relations: Vec<Relation>,
}

/// Kinds of queries, each with a place in the round.
const KINDS: usize = 23;

impl Generator {
    pub fn new(tables: &[Table]) -> Generator {
        let relation = |table: &Table| Relation {
            name: table.name.to_string(),
            columns: table.columns.iter().map(|(name, ty)| (name.to_string(), Kind::of(ty))).collect(),
            depth: 0,
            is_table: true,
        };
        Generator { relations: tables.iter().map(relation).collect() }
    }

    /// The view number `i` of its round.
    pub fn view(&mut self, random: &mut Random, i: usize) -> View {
        self.view_of(random, i, i)
    }

    /// Of one view of each kind the one with the feature that was `seen` least.
    pub fn rare_view(&mut self, random: &mut Random, i: usize, seen: &BTreeMap<Feature, usize>) -> View {
        let count = |feature: &Feature| seen.get(feature).copied().unwrap_or(0);
        let candidates = (0..KINDS).map(|kind| {
            let view = self.view_of(random, i, kind);
            let relation = self.relations.pop().expect("just made");
            (view.features.iter().map(count).min().unwrap_or(usize::MAX), view, relation)
        });
        let (_, view, relation) = candidates.min_by_key(|(rarest, ..)| *rarest).expect("there are kinds");
        self.relations.push(relation);
        view
    }

    fn view_of(&mut self, random: &mut Random, i: usize, kind: usize) -> View {
        let mut draft = match kind % KINDS {
            0 => self.projected(random),
            1 | 2 => self.grouped(random),
            3 => self.windowed(random, true),
            4 => self.windowed(random, false),
            5 | 6 => self.joined(random),
            7..=9 => self.join_of_any_kind(random),
            10 | 11 => self.aggregated(random),
            12 | 13 => return self.set_operation(random, i),
            14..=16 => return self.top(random, i),
            17 | 18 => return self.over(random, i),
            20 => self.spread(random),
            21 | 22 => self.called(random),
            _ => return self.union(random, i),
        };
        if draft.reads.iter().any(|name| name.starts_with('v')) {
            draft.has(Feature::ViewOnView);
        }
        let sql = draft.sql();
        self.finish(i, sql, draft)
    }

    pub(super) fn finish(&mut self, i: usize, query: String, draft: Draft) -> View {
        let name = format!("v{i}");
        let below = self.relations.iter().filter(|relation| draft.reads.contains(&relation.name));
        let depth = 1 + below.map(|relation| relation.depth).max().unwrap_or(0);
        let columns = draft.select.iter().enumerate().map(|(i, (_, kind))| (format!("c{i}"), *kind)).collect();
        self.relations.push(Relation { name: name.clone(), columns, depth, is_table: false });
        let sql = format!("CREATE MATERIALIZED VIEW {name} AS {query}");
        View { name, sql, features: draft.features, reads: draft.reads }
    }

    /// A table, or a view that is not too high, that `fits`.
    pub(super) fn relation(&self, random: &mut Random, fits: impl Fn(&Relation) -> bool) -> Relation {
        let view = random.one_in(3);
        let fitting = |relation: &&Relation| relation.depth < 3 && fits(relation);
        let wanted: Vec<&Relation> =
            self.relations.iter().filter(fitting).filter(|relation| relation.is_table != view).collect();
        let all: Vec<&Relation> = self.relations.iter().filter(fitting).collect();
        let chosen = random.pick(&wanted).or_else(|| random.pick(&all)).expect("a table fits");
        (*chosen).clone()
    }

    /// FROM one relation, perhaps through a sub-query.
    pub(super) fn one_relation(&self, random: &mut Random, draft: &mut Draft) -> Scope {
        let relation = self.relation(random, |_| true);
        draft.reads.push(relation.name.clone());
        if !random.one_in(5) {
            draft.from = relation.name.clone();
            return relation.columns;
        }
        draft.has(Feature::SubQuery);
        let mut inner = Draft { from: relation.name.clone(), ..Draft::default() };
        if random.one_in(2) {
            inner.filter = Some(predicate(random, &relation.columns, 1));
        }
        let mut columns: Scope = Vec::new();
        let select: Vec<String> = relation
            .columns
            .iter()
            .map(|(name, kind)| {
                let sql = expression(random, &relation.columns, *kind, 1);
                columns.push((format!("s.{name}"), *kind));
                format!("{sql} AS {name}")
            })
            .collect();
        let filter = inner.filter.map(|filter| format!(" WHERE {filter}")).unwrap_or_default();
        draft.from = format!("(SELECT {} FROM {}{filter}) s", select.join(", "), relation.name);
        columns
    }

    fn projected(&self, random: &mut Random) -> Draft {
        let mut draft = Draft::default();
        draft.has(Feature::Projection);
        let scope = self.one_relation(random, &mut draft);
        draft.select = projection(random, &scope);
        self.maybe_filter(random, &scope, &mut draft, 2);
        if random.one_in(2) {
            draft.has(Feature::Distinct);
            draft.distinct = true;
        }
        draft
    }

    pub(super) fn maybe_filter(&self, random: &mut Random, scope: &Scope, draft: &mut Draft, out_of: u64) {
        if random.one_in(out_of) {
            draft.has(Feature::Filter);
            draft.filter = Some(predicate(random, scope, 2));
        }
        self.maybe_of_clock(random, scope, draft);
    }

    fn grouped(&self, random: &mut Random) -> Draft {
        let mut draft = Draft::default();
        let scope = self.one_relation(random, &mut draft);
        self.maybe_filter(random, &scope, &mut draft, 3);
        group(random, &scope, &mut draft, 4);
        draft
    }

    fn windowed(&self, random: &mut Random, tumble: bool) -> Draft {
        let mut draft = Draft::default();
        let is_time = |kind: Kind| matches!(kind, Kind::Timestamp | Kind::TimestampTz);
        let relation = self.relation(random, |relation| relation.columns.iter().any(|(_, kind)| is_time(*kind)));
        let times: Vec<&(String, Kind)> = relation.columns.iter().filter(|(_, kind)| is_time(*kind)).collect();
        let (time, kind) = (*random.pick(&times).expect("it has one")).clone();
        draft.reads.push(relation.name.clone());
        draft.from = match tumble {
            true => {
                draft.has(Feature::Tumble);
                let size = pick(random, &["20 minutes", "1 hour", "7 minutes"]);
                let offset = pick(random, &["", "", ", INTERVAL '3 minutes'"]);
                format!("TUMBLE({}, {time}, INTERVAL '{size}'{offset})", relation.name)
            }
            false if random.one_in(3) => {
                draft.has(Feature::Cumulate);
                let (step, size) =
                    *random.pick(&[("10 minutes", "1 hour"), ("15 minutes", "30 minutes")]).expect("two");
                let offset = pick(random, &["", "", ", INTERVAL '3 minutes'"]);
                format!("CUMULATE({}, {time}, INTERVAL '{step}', INTERVAL '{size}'{offset})", relation.name)
            }
            false if random.one_in(2) => sessions(random, &relation, &time, &mut draft),
            false => {
                draft.has(Feature::Hop);
                let (slide, size) =
                    *random.pick(&[("15 minutes", "30 minutes"), ("20 minutes", "1 hour")]).expect("two");
                format!("HOP({}, {time}, INTERVAL '{slide}', INTERVAL '{size}')", relation.name)
            }
        };
        let mut scope: Scope = relation.columns.clone();
        // A window of a window would have two columns of each name.
        scope.retain(|(name, _)| !name.starts_with("window_"));
        if random.one_in(4) {
            scope.extend([("window_start".to_string(), kind), ("window_end".to_string(), kind)]);
            draft.has(Feature::Projection);
            draft.select = projection(random, &scope);
            draft.select.push(("window_end".into(), kind));
            self.maybe_filter(random, &scope, &mut draft, 2);
            return draft;
        }
        self.maybe_filter(random, &scope, &mut draft, 3);
        draft.group = vec!["window_start".into(), "window_end".into()];
        draft.select = vec![("window_start".into(), kind), ("window_end".into(), kind)];
        group(random, &scope, &mut draft, 0);
        draft
    }

    fn joined(&self, random: &mut Random) -> Draft {
        let mut draft = Draft::default();
        draft.has(Feature::Join);
        let joins = |relation: &Relation| relation.columns.iter().any(|(_, kind)| *kind == Kind::Int);
        let sides = [self.relation(random, joins), self.relation(random, joins)];
        let mut scope: Scope = Vec::new();
        let mut keys = Vec::new();
        for (side, alias) in sides.iter().zip(["l", "r"]) {
            draft.reads.push(side.name.clone());
            scope.extend(side.columns.iter().map(|(name, kind)| (format!("{alias}.{name}"), *kind)));
            let ints: Vec<&String> =
                side.columns.iter().filter(|(_, kind)| *kind == Kind::Int).map(|(name, _)| name).collect();
            // `k` has few values, so that rows meet.
            let key = ints.iter().find(|name| name.as_str() == "k").or_else(|| random.pick(&ints)).expect("joins");
            keys.push(format!("{alias}.{key}"));
        }
        let mut on = format!("{} = {}", keys[0], keys[1]);
        if random.one_in(2) {
            draft.has(Feature::Residual);
            let (left, right) = scope.split_at(sides[0].columns.len());
            on.push_str(&format!(" AND {}", residual(random, left, right)));
        }
        draft.from = format!("{} l JOIN {} r ON {on}", sides[0].name, sides[1].name);
        self.maybe_filter(random, &scope, &mut draft, 3);
        if random.one_in(2) {
            draft.has(Feature::GroupedJoin);
            group(random, &scope, &mut draft, 6);
        } else {
            draft.has(Feature::Projection);
            draft.select = projection(random, &scope);
        }
        draft
    }

    fn union(&mut self, random: &mut Random, i: usize) -> View {
        let mut draft = Draft::default();
        draft.has(Feature::UnionAll);
        let sides = [self.relation(random, |r| r.columns.len() > 1), self.relation(random, |r| r.columns.len() > 1)];
        let shared: Vec<Kind> = sides[0].columns.iter().map(|(_, kind)| *kind).collect();
        let mut kinds: Vec<Kind> =
            shared.into_iter().filter(|kind| sides[1].columns.iter().any(|(_, other)| other == kind)).collect();
        kinds.truncate(3);
        if kinds.is_empty() {
            kinds.push(Kind::Int);
        }
        let mut parts = Vec::new();
        for side in &sides {
            let mut part = Draft { from: side.name.clone(), ..Draft::default() };
            draft.reads.push(side.name.clone());
            part.select = kinds.iter().map(|kind| (expression(random, &side.columns, *kind, 1), *kind)).collect();
            if random.one_in(2) {
                draft.has(Feature::Filter);
                part.filter = Some(predicate(random, &side.columns, 1));
            }
            parts.push(part.sql());
        }
        if draft.reads.iter().any(|name| name.starts_with('v')) {
            draft.has(Feature::ViewOnView);
        }
        draft.select = kinds.iter().map(|kind| (String::new(), *kind)).collect();
        self.finish(i, parts.join(" UNION ALL "), draft)
    }
}

/// SESSION over `relation`, by some of its columns.
fn sessions(random: &mut Random, relation: &Relation, time: &str, draft: &mut Draft) -> String {
    draft.has(Feature::Session);
    let usable = |(name, kind): &&(String, Kind)| *kind != Kind::Double && !name.starts_with("window_");
    let columns: Vec<&String> = relation.columns.iter().filter(usable).map(|(name, _)| name).collect();
    let mut keys: Vec<&String> = Vec::new();
    for _ in 0..random.below(3) {
        keys.extend(random.pick(&columns).filter(|column| !keys.contains(column)).copied());
    }
    let keys: Vec<&str> = keys.into_iter().map(String::as_str).collect();
    let partition = if keys.is_empty() { String::new() } else { format!(" PARTITION BY {}", keys.join(", ")) };
    let gap = pick(random, &["5 minutes", "20 minutes", "2 hours"]);
    format!("SESSION({}{partition}, {time}, INTERVAL '{gap}')", relation.name)
}

pub(super) fn pick<'a>(random: &mut Random, items: &[&'a str]) -> &'a str {
    random.pick(items).expect("not empty")
}

pub(super) fn projection(random: &mut Random, scope: &Scope) -> Vec<(String, Kind)> {
    let count = 2 + random.below(4);
    let one = |_| {
        let (name, kind) = random.pick(scope).expect("not empty").clone();
        let sql = if random.one_in(2) { name } else { expression(random, scope, kind, 2) };
        (sql, kind)
    };
    (0..count).map(one).collect()
}

/// GROUP BY some columns (none once in `global` times; 0: keys are optional, windows are there), and aggregates.
pub(super) fn group(random: &mut Random, scope: &Scope, draft: &mut Draft, global: u64) {
    let is_global = global > 0 && random.one_in(global);
    draft.has(if is_global { Feature::GlobalAggregate } else { Feature::GroupBy });
    let keys = if is_global { 0 } else { random.between(i64::from(global > 0), 2) };
    for _ in 0..keys {
        let (name, kind) = random.pick(scope).expect("not empty").clone();
        // Keys with few values make groups of several rows.
        let sql = match kind {
            Kind::Int => format!("{name} % 5"),
            Kind::Timestamp | Kind::TimestampTz => format!("date_trunc('hour', {name})"),
            Kind::Double | Kind::Decimal => format!("{name} > 10"),
            Kind::Text | Kind::Boolean | Kind::Date | Kind::Interval => name,
        };
        let kind = if matches!(kind, Kind::Double | Kind::Decimal) { Kind::Boolean } else { kind };
        if !draft.group.contains(&sql) {
            draft.group.push(sql.clone());
            draft.select.push((sql, kind));
        }
    }
    for _ in 0..1 + random.below(4) {
        let aggregate = aggregate(random, scope, draft);
        draft.select.push(aggregate);
    }
    if random.one_in(if is_global { 12 } else { 4 }) {
        draft.has(Feature::Having);
        draft.having = Some(pick(random, &["count(*) > 1", "count(*) < 9", "count(*) % 2 = 1"]).to_string());
    }
}

fn aggregate(random: &mut Random, scope: &Scope, draft: &mut Draft) -> (String, Kind) {
    let numbers: Vec<&(String, Kind)> =
        scope.iter().filter(|(_, kind)| matches!(kind, Kind::Int | Kind::Decimal | Kind::Double)).collect();
    let any: Vec<&(String, Kind)> = scope.iter().filter(|(_, kind)| *kind != Kind::Boolean).collect();
    let number = random.pick(&numbers).map(|column| (**column).clone());
    let (call, kind) = match (random.below(6), number) {
        (0 | 1, Some((name, kind))) => {
            draft.has(Feature::Sum);
            let kind = if kind == Kind::Int { Kind::Decimal } else { kind };
            (format!("sum({name})"), kind)
        }
        (2, Some((name, kind))) => {
            draft.has(Feature::Avg);
            (format!("avg({name})"), if kind == Kind::Double { Kind::Double } else { Kind::Decimal })
        }
        (3 | 4, _) if !any.is_empty() => {
            draft.has(Feature::MinMax);
            let (name, kind) = (*random.pick(&any).expect("not empty")).clone();
            (format!("{}({name})", pick(random, &["min", "max"])), kind)
        }
        _ => {
            draft.has(Feature::Count);
            let name = &random.pick(scope).expect("not empty").0;
            (if random.one_in(2) { "count(*)".into() } else { format!("count({name})") }, Kind::Int)
        }
    };
    if random.one_in(5) {
        draft.has(Feature::AggregateFilter);
        return (format!("{call} FILTER (WHERE {})", predicate(random, scope, 1)), kind);
    }
    (call, kind)
}

/// An expression of `kind` over `scope`: never a fault.
pub(super) fn expression(random: &mut Random, scope: &[(String, Kind)], kind: Kind, depth: usize) -> String {
    let columns: Vec<&String> = scope.iter().filter(|(_, other)| *other == kind).map(|(name, _)| name).collect();
    let Some(name) = random.pick(&columns).map(|name| name.to_string()) else { return constant(random, kind) };
    if depth == 0 || random.one_in(3) {
        return name;
    }
    if random.one_in(6) {
        let when = predicate(random, scope, depth - 1);
        return format!("CASE WHEN {when} THEN {name} ELSE {} END", expression(random, scope, kind, depth - 1));
    }
    match kind {
        Kind::Int => match random.below(6) {
            0 => format!("{name} + {}", random.between(1, 5)),
            1 => format!("{name} - 3"),
            2 => format!("-{name}"),
            3 => format!("{name} / 2"),
            4 => format!("abs({name})"),
            _ => format!("coalesce({name}, 0)"),
        },
        Kind::Decimal => pick(random, &["{} + 1", "{} - 0.5", "coalesce({}, 0)", "-{}"]).replace("{}", &name),
        Kind::Double => pick(random, &["{} + 0.25", "{} * 0.5", "abs({})", "coalesce({}, 0)"]).replace("{}", &name),
        Kind::Text => {
            pick(random, &["upper({})", "{} || 'x'", "coalesce({}, 'none')", "lower({})"]).replace("{}", &name)
        }
        Kind::Boolean => pick(random, &["NOT {}", "coalesce({}, false)"]).replace("{}", &name),
        Kind::Timestamp | Kind::TimestampTz => {
            pick(random, &["{} + INTERVAL '90 minutes'", "date_trunc('hour', {})", "{} - INTERVAL '1 day'"])
                .replace("{}", &name)
        }
        Kind::Date => name,
        Kind::Interval => {
            pick(random, &["{} + INTERVAL '1 hour'", "coalesce({}, INTERVAL '1 day')"]).replace("{}", &name)
        }
    }
}

fn constant(random: &mut Random, kind: Kind) -> String {
    match kind {
        Kind::Int => random.between(-9, 9).to_string(),
        Kind::Decimal => "12.5".into(),
        Kind::Double => "CAST(1.5 AS DOUBLE PRECISION)".into(),
        Kind::Text => pick(random, &["'bee'", "'ant'"]).into(),
        Kind::Boolean => pick(random, &["true", "false"]).into(),
        Kind::Timestamp => "TIMESTAMP '2024-03-01 11:00:00'".into(),
        Kind::TimestampTz => "TIMESTAMPTZ '2024-03-01 11:30:00+00'".into(),
        Kind::Date => "DATE '2024-02-28'".into(),
        Kind::Interval => "INTERVAL '1 day'".into(),
    }
}

/// A condition that passes a good share of the rows.
pub(super) fn predicate(random: &mut Random, scope: &[(String, Kind)], depth: usize) -> String {
    if depth > 0 && random.one_in(4) {
        let (left, right) = (predicate(random, scope, depth - 1), predicate(random, scope, depth - 1));
        return format!("({left} {} {right})", pick(random, &["OR", "AND", "OR"]));
    }
    let (name, kind) = random.pick(scope).expect("not empty").clone();
    match (kind, random.below(4)) {
        (_, 0) => format!("{name} IS {}NULL", pick(random, &["NOT ", "NOT ", "NOT ", ""])),
        (Kind::Int, 1) => format!("{name} IN (1, 2, 3, 5, {})", random.between(-9, 9)),
        (Kind::Int, 2) => format!("{name} BETWEEN -5 AND {}", random.between(0, 15)),
        (Kind::Int, _) => format!("{name} {} {}", pick(random, &["<>", ">", "<="]), random.between(-5, 8)),
        (Kind::Text, 1) => format!("{name} LIKE '%{}%'", pick(random, &["e", "a", "t"])),
        (Kind::Text, 2) => format!("{name} NOT IN ('bee', 'ox')"),
        (Kind::Text, _) => format!("{name} > 'a'"),
        (Kind::Boolean, 1) => format!("NOT {name}"),
        (Kind::Boolean, _) => name,
        (Kind::Interval, _) => format!("{name} IS NOT NULL"),
        (Kind::Decimal | Kind::Double, _) => {
            format!("{name} {} {}", pick(random, &["<", ">", "<>"]), random.between(-3, 20))
        }
        (Kind::Timestamp | Kind::TimestampTz | Kind::Date, _) => {
            format!("{name} {} {}", pick(random, &["<", ">=", "<>"]), constant(random, kind))
        }
    }
}

/// A condition over both sides of a join.
fn residual(random: &mut Random, left: &[(String, Kind)], right: &[(String, Kind)]) -> String {
    let comparable = |kind: Kind| !matches!(kind, Kind::Interval | Kind::Boolean);
    let pairs: Vec<(&String, &String)> = left
        .iter()
        .flat_map(|(l, kind)| right.iter().filter(move |(_, other)| other == kind).map(move |(r, _)| (l, r, *kind)))
        .filter(|(_, _, kind)| comparable(*kind))
        .map(|(l, r, _)| (l, r))
        .collect();
    let (l, r) = random.pick(&pairs).expect("both have an integer");
    format!("{l} {} {r}", pick(random, &["<=", ">=", "<>"]))
}
