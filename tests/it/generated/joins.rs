//! Joins of every kind and sub-queries: outer, semi, anti, NOT IN, null-safe, USING, n-way, cross, by range.
//!
//! A child of `query` (by path), so that it sees its drafts.

use millstream::base::random::Random;

use super::{Draft, Feature, Generator, Kind, Relation, Scope, pick, predicate, projection, residual};

impl Generator {
    /// One view with a join that is not plainly an inner one.
    pub(super) fn join_of_any_kind(&self, random: &mut Random) -> Draft {
        match random.below(8) {
            0 | 1 => self.outer(random),
            2 => self.semi(random),
            3 => self.anti(random),
            4 => self.null_safe(random),
            5 => self.using(random),
            6 => self.three_way(random),
            _ => self.by_range(random),
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
        let mut scope: Scope = vec![("k".into(), Kind::Int)];
        for (side, alias) in sides.iter().zip(["l", "r"]) {
            draft.reads.push(side.name.clone());
            let others = side.columns.iter().filter(|(name, _)| name != "k");
            scope.extend(others.map(|(name, kind)| (format!("{alias}.{name}"), *kind)));
        }
        let kind = pick(random, &["", "LEFT "]);
        draft.from = format!("{} l {kind}JOIN {} r USING (k)", sides[0].name, sides[1].name);
        self.finish_join(random, &mut draft, scope);
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
}

/// `k` has few values, so that rows meet.
fn int_column(random: &mut Random, relation: &Relation) -> String {
    let ints: Vec<&String> =
        relation.columns.iter().filter(|(_, kind)| *kind == Kind::Int).map(|(name, _)| name).collect();
    let key = ints.iter().find(|name| name.as_str() == "k").or_else(|| random.pick(&ints));
    (*key.expect("it has an integer")).clone()
}
