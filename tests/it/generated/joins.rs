//! Joins of every kind and sub-queries: outer, semi, anti, NOT IN, null-safe, USING, n-way, cross, by range.
//!
//! A child of `query` (by path), so that it sees its drafts.

use millstream::base::random::Random;

use super::{Draft, Feature, Generator, Kind, Relation, Scope, pick, predicate, projection, residual};

impl Generator {
    /// One view with a join that is not plainly an inner one.
    pub(super) fn join_of_any_kind(&self, random: &mut Random) -> Draft {
        match random.below(14) {
            0 | 1 => self.outer(random),
            2 => self.semi(random),
            3 => self.anti(random),
            4 => self.null_safe(random),
            5 => self.using(random),
            6 => self.three_way(random),
            7 => self.by_range(random),
            8 => self.not_in(random),
            9 => self.scalar(random),
            10 => self.correlated(random),
            // ASOF is not asked: which of several versions of one time is taken depends on the columns that are read.
            11 | 12 => self.lateral(random),
            _ => self.subquery_value(random),
        }
    }

    fn joinable(&self, random: &mut Random) -> Relation {
        self.relation(random, |relation| relation.columns.iter().any(|(_, kind)| *kind == Kind::Int))
    }

    /// Two relations under the aliases, all their columns, and a key of each.
    fn two(&self, random: &mut Random, draft: &mut Draft) -> ([Relation; 2], [Scope; 2], [String; 2]) {
        let sides = [self.joinable(random), self.joinable(random)];
        let mut scopes: Vec<Scope> = Vec::new();
        let mut keys = Vec::new();
        for (side, alias) in sides.iter().zip(["l", "r"]) {
            draft.reads.push(side.name.clone());
            scopes.push(side.columns.iter().map(|(name, kind)| (format!("{alias}.{name}"), *kind)).collect());
            keys.push(format!("{alias}.{}", int_column(random, side)));
        }
        let scopes = [scopes.remove(0), scopes.remove(0)];
        (sides, scopes, [keys.remove(0), keys.remove(0)])
    }

    fn finish_join(&self, random: &mut Random, draft: &mut Draft, scope: Scope) {
        draft.has(Feature::Projection);
        draft.select = projection(random, &scope);
        if random.one_in(4) {
            draft.has(Feature::Filter);
            draft.filter = Some(predicate(random, &scope, 1));
        }
    }

    fn outer(&self, random: &mut Random) -> Draft {
        let mut draft = Draft::default();
        let (sides, [left, right], keys) = self.two(random, &mut draft);
        let kind = pick(random, &["LEFT", "RIGHT", "FULL"]);
        draft.has(match kind {
            "LEFT" => Feature::LeftJoin,
            "RIGHT" => Feature::RightJoin,
            _ => Feature::FullJoin,
        });
        let mut on = format!("{} = {}", keys[0], keys[1]);
        if random.one_in(2) {
            draft.has(Feature::OuterResidual);
            on.push_str(&format!(" AND {}", residual(random, &left, &right)));
        }
        draft.from = format!("{} l {kind} JOIN {} r ON {on}", sides[0].name, sides[1].name);
        self.finish_join(random, &mut draft, left.into_iter().chain(right).collect());
        draft
    }

    fn semi(&self, random: &mut Random) -> Draft {
        let mut draft = Draft::default();
        draft.has(Feature::Semi);
        let (sides, [left, right], keys) = self.two(random, &mut draft);
        draft.from = format!("{} l", sides[0].name);
        draft.select = projection(random, &left);
        let inner = predicate(random, &right, 1);
        draft.filter = Some(match random.below(3) {
            0 => format!("{} IN (SELECT {} FROM {} r WHERE {inner})", keys[0], keys[1], sides[1].name),
            1 => format!("EXISTS (SELECT 1 FROM {} r WHERE {} = {})", sides[1].name, keys[0], keys[1]),
            _ => format!(
                "EXISTS (SELECT 1 FROM {} r WHERE {} = {} AND {})",
                sides[1].name,
                keys[0],
                keys[1],
                residual(random, &left, &right)
            ),
        });
        draft
    }

    fn anti(&self, random: &mut Random) -> Draft {
        let mut draft = Draft::default();
        draft.has(Feature::Anti);
        let (sides, [left, right], keys) = self.two(random, &mut draft);
        draft.from = format!("{} l", sides[0].name);
        draft.select = projection(random, &left);
        let rest = match random.one_in(2) {
            true => format!(" AND {}", residual(random, &left, &right)),
            false => String::new(),
        };
        let exists = format!("NOT EXISTS (SELECT 1 FROM {} r WHERE {} = {}{rest})", sides[1].name, keys[0], keys[1]);
        draft.filter = Some(exists);
        draft
    }

    fn null_safe(&self, random: &mut Random) -> Draft {
        let mut draft = Draft::default();
        draft.has(Feature::NullSafe);
        let (sides, [left, right], keys) = self.two(random, &mut draft);
        let kind = pick(random, &["", "LEFT ", "FULL "]);
        let on = format!("{} IS NOT DISTINCT FROM {}", keys[0], keys[1]);
        draft.from = format!("{} l {kind}JOIN {} r ON {on}", sides[0].name, sides[1].name);
        self.finish_join(random, &mut draft, left.into_iter().chain(right).collect());
        draft
    }

    fn using(&self, random: &mut Random) -> Draft {
        let mut draft = Draft::default();
        draft.has(Feature::Using);
        let tables = |relation: &Relation| relation.is_table;
        let sides = [self.relation(random, tables), self.relation(random, tables)];
        let mut scope = Scope::new();
        for (side, alias) in sides.iter().zip(["l", "r"]) {
            draft.reads.push(side.name.clone());
            let others = side.columns.iter().filter(|(name, _)| name != "k");
            scope.extend(others.map(|(name, kind)| (format!("{alias}.{name}"), *kind)));
        }
        let kind = pick(random, &["", "LEFT ", "RIGHT ", "FULL "]);
        let relation = |random: &mut Random, name: &str| match random.one_in(3) {
            true => format!("(SELECT *, 1 AS one FROM {name})"),
            false => name.to_owned(),
        };
        let (left, right) = (relation(random, &sides[0].name), relation(random, &sides[1].name));
        draft.from = format!("{left} l {kind}JOIN {right} r USING (k)");
        if random.one_in(3) {
            // What an outer join merged is merged once more.
            let kind = pick(random, &["", "LEFT ", "FULL "]);
            draft.from = format!("{} {kind}JOIN {} z USING (k)", draft.from, sides[0].name);
        }
        self.finish_join(random, &mut draft, scope);
        draft.select.push(("k".into(), Kind::Int));
        draft
    }

    fn three_way(&self, random: &mut Random) -> Draft {
        let mut draft = Draft::default();
        draft.has(Feature::NWay);
        let (sides, [left, right], keys) = self.two(random, &mut draft);
        let third = self.relation(random, |relation| relation.is_table);
        draft.reads.push(third.name.clone());
        let kinds = [pick(random, &["", "LEFT "]), pick(random, &["", "LEFT ", "LEFT "])];
        draft.from = format!(
            "{} l {}JOIN {} r ON {} = {} {}JOIN {} z ON {} = z.k",
            sides[0].name, kinds[0], sides[1].name, keys[0], keys[1], kinds[1], third.name, keys[1]
        );
        let mut scope: Scope = left.into_iter().chain(right).collect();
        scope.extend(third.columns.iter().map(|(name, kind)| (format!("z.{name}"), *kind)));
        self.finish_join(random, &mut draft, scope);
        draft
    }

    fn by_range(&self, random: &mut Random) -> Draft {
        let mut draft = Draft::default();
        draft.has(Feature::RangeJoin);
        let (sides, [left, right], keys) = self.two(random, &mut draft);
        let kind = pick(random, &["", "", "LEFT "]);
        let on = match random.below(4) {
            0 => format!("{} BETWEEN {} - 1 AND {} + 1", keys[0], keys[1], keys[1]),
            1 => format!("{} < {}", keys[0], keys[1]),
            2 => format!("{} >= {} AND {} < {} + 3", keys[0], keys[1], keys[0], keys[1]),
            _ => format!("{} > {} AND {}", keys[0], keys[1], residual(random, &left, &right)),
        };
        draft.from = format!("{} l {kind}JOIN {} r ON {on}", sides[0].name, sides[1].name);
        self.finish_join(random, &mut draft, left.into_iter().chain(right).collect());
        draft
    }

    fn not_in(&self, random: &mut Random) -> Draft {
        let mut draft = Draft::default();
        draft.has(Feature::NotIn);
        let (sides, [left, right], keys) = self.two(random, &mut draft);
        draft.from = format!("{} l", sides[0].name);
        draft.select = projection(random, &left);
        let inner = match random.below(3) {
            0 => String::new(),
            1 => format!(" WHERE {}", predicate(random, &right, 1)),
            _ => format!(" WHERE {} IS NOT NULL AND {}", keys[1], predicate(random, &right, 0)),
        };
        draft.filter = Some(format!("{} NOT IN (SELECT {} FROM {} r{inner})", keys[0], keys[1], sides[1].name));
        draft
    }

    /// IN and EXISTS as values, and beside OR.
    fn subquery_value(&self, random: &mut Random) -> Draft {
        let mut draft = Draft::default();
        draft.has(Feature::SubQueryValue);
        let (sides, [left, right], keys) = self.two(random, &mut draft);
        draft.from = format!("{} l", sides[0].name);
        draft.select = projection(random, &left);
        let inner = predicate(random, &right, 0);
        let value = match random.below(3) {
            0 => format!("{} IN (SELECT {} FROM {} r WHERE {inner})", keys[0], keys[1], sides[1].name),
            1 => format!("{} NOT IN (SELECT {} FROM {} r WHERE {inner})", keys[0], keys[1], sides[1].name),
            _ => format!("EXISTS (SELECT 1 FROM {} r WHERE {} = {})", sides[1].name, keys[1], keys[0]),
        };
        if random.one_in(2) {
            draft.select.push((value, Kind::Boolean));
        } else {
            draft.filter = Some(format!("({} OR {value})", predicate(random, &left, 0)));
        }
        draft
    }

    fn scalar(&self, random: &mut Random) -> Draft {
        let mut draft = Draft::default();
        draft.has(Feature::ScalarSubQuery);
        let (sides, [left, right], keys) = self.two(random, &mut draft);
        draft.from = format!("{} l", sides[0].name);
        draft.select = projection(random, &left);
        let call = pick(random, &["max", "min", "count"]);
        let inner = predicate(random, &right, 0);
        let value = format!("(SELECT {call}({}) FROM {} r WHERE {inner})", keys[1], sides[1].name);
        match random.below(3) {
            0 => draft.select.push((value, Kind::Int)),
            1 => draft.filter = Some(format!("{} = {value}", keys[0])),
            _ => draft.filter = Some(format!("{} {} {value}", keys[0], pick(random, &["<", ">=", "<>"]))),
        }
        draft
    }

    fn correlated(&self, random: &mut Random) -> Draft {
        let mut draft = Draft::default();
        draft.has(Feature::CorrelatedSubQuery);
        let (sides, [left, right], keys) = self.two(random, &mut draft);
        draft.from = format!("{} l", sides[0].name);
        draft.select = projection(random, &left);
        let call = pick(random, &["max", "min", "count"]);
        let (inner, name) = (predicate(random, &right, 0), int_column(random, &sides[1]));
        let value =
            format!("(SELECT {call}(r.{name}) FROM {} r WHERE {} = {} AND {inner})", sides[1].name, keys[1], keys[0]);
        match random.one_in(2) {
            true => draft.select.push((value, Kind::Int)),
            false => draft.filter = Some(format!("{} >= {value}", keys[0])),
        }
        draft
    }

    fn lateral(&self, random: &mut Random) -> Draft {
        let mut draft = Draft::default();
        draft.has(Feature::Lateral);
        let (sides, [left, right], keys) = self.two(random, &mut draft);
        let inner = predicate(random, &right, 0);
        let (list, kind) = match random.one_in(2) {
            true => ("count(*) AS n".to_string(), pick(random, &["CROSS JOIN", "LEFT JOIN"])),
            false => (format!("{} AS n", keys[1]), pick(random, &["CROSS JOIN", "LEFT JOIN"])),
        };
        let on = if kind == "LEFT JOIN" { " ON true" } else { "" };
        draft.from = format!(
            "{} l {kind} LATERAL (SELECT {list} FROM {} r WHERE {} = {} AND {inner}) z{on}",
            sides[0].name, sides[1].name, keys[1], keys[0]
        );
        draft.select = projection(random, &left);
        draft.select.push(("z.n".into(), Kind::Int));
        draft
    }
}

/// `k` has few values, so that rows meet.
fn int_column(random: &mut Random, relation: &Relation) -> String {
    let ints: Vec<&String> =
        relation.columns.iter().filter(|(_, kind)| *kind == Kind::Int).map(|(name, _)| name).collect();
    let key = ints.iter().find(|name| name.as_str() == "k").or_else(|| random.pick(&ints));
    (*key.expect("it has an integer")).clone()
}
