//! Sub-queries about the row around them: aggregates over a range, and rows made in every way.

use millstream::base::random::Random;

use super::called::int_column;
use super::query::{Draft, Feature, Generator, Kind, Relation, Scope, pick, predicate, projection};

impl Generator {
    /// An aggregate of the rows of another relation that stand in some order to the row.
    pub(super) fn about_a_range(&self, random: &mut Random) -> Draft {
        let mut draft = Draft::default();
        draft.has(Feature::CorrelatedRange);
        let sides = [self.with_int(random), self.with_int(random)];
        let (left, right) = (scope(&sides[0], "l"), scope(&sides[1], "r"));
        sides.iter().for_each(|side| draft.reads.push(side.name.clone()));
        let keys = [format!("l.{}", int_column(random, &sides[0])), format!("r.{}", int_column(random, &sides[1]))];
        let call = match random.below(5) {
            0 => "count(*)".to_string(),
            1 => format!("count(DISTINCT {})", keys[1]),
            2 => format!("max({}) - {}", keys[1], keys[0]),
            3 => format!("count(*) + count({})", keys[1]),
            _ => format!("min({})", keys[1]),
        };
        let compared = format!("{} {} {}", keys[1], pick(random, &["<", "<=", ">", "<>"]), keys[0]);
        let compared = match random.one_in(2) {
            true => compared,
            false => format!("{compared} AND {}", predicate(random, &right, 1)),
        };
        let value = format!("(SELECT {call} FROM {} r WHERE {compared})", sides[1].name);
        draft.from = format!("{} l", sides[0].name);
        draft.select = projection(random, &left);
        match random.below(3) {
            0 => draft.filter = Some(format!("{value} > {}", random.below(3))),
            1 => draft.filter = Some(format!("{} = {value}", keys[0])),
            _ => draft.select.push((value, Kind::Int)),
        }
        draft
    }

    /// Rows of other relations, some of them about the row, in LATERAL, EXISTS, IN, a value or an array.
    pub(super) fn about_rows(&self, random: &mut Random) -> Draft {
        let mut draft = Draft::default();
        draft.has(Feature::AboutTheRow);
        let left = self.with_int(random);
        let key = format!("l.{}", int_column(random, &left));
        let rows = self.rows_about(random, &key, &mut draft);
        draft.reads.push(left.name.clone());
        draft.from = format!("{} l", left.name);
        let scope = scope(&left, "l");
        draft.select = projection(random, &scope);
        match random.below(7) {
            0 => draft.from.push_str(&format!(" CROSS JOIN LATERAL ({rows}) z")),
            1 => draft.from.push_str(&format!(" LEFT JOIN LATERAL ({rows}) z ON z.n < {}", random.below(6))),
            2 => draft.filter = Some(format!("{}EXISTS ({rows})", pick(random, &["", "NOT "]))),
            3 => draft.filter = Some(format!("{key} {}IN ({rows})", pick(random, &["", "NOT "]))),
            4 => draft.select.push((format!("(SELECT sum(n) FROM ({rows}) z)"), Kind::Int)),
            5 => draft.select.push((format!("{key} = ANY (ARRAY({rows}))"), Kind::Boolean)),
            _ => draft.select.push((format!("{key} IN ({rows})"), Kind::Boolean)),
        }
        if draft.from.contains("LATERAL") {
            draft.select.push(("z.n".into(), Kind::Int));
        }
        draft
    }

    /// A query of one column `n`, about `key` of the row around.
    fn rows_about(&self, random: &mut Random, key: &str, draft: &mut Draft) -> String {
        let mut side = |random: &mut Random, alias: &str| {
            let relation = self.with_int(random);
            draft.reads.push(relation.name.clone());
            let column = format!("{alias}.{}", int_column(random, &relation));
            let inner = predicate(random, &scope(&relation, alias), 0);
            let about = pick(random, &["=", "=", "<", ">=", "<>"]);
            (relation.name, column.clone(), format!("{column} {about} {key} AND {inner}"))
        };
        let (right, n, about) = side(random, "r");
        match random.below(8) {
            0 => format!("SELECT {n} AS n FROM {right} r WHERE {about} ORDER BY {n} LIMIT {}", 1 + random.below(3)),
            1 => format!("SELECT DISTINCT {n} + 1 AS n FROM {right} r WHERE {about}"),
            2 => format!("SELECT count(*) AS n FROM {right} r WHERE {about} GROUP BY {n}"),
            3 => format!("SELECT rank() OVER (ORDER BY {n}) + {n} AS n FROM {right} r WHERE {about}"),
            4 => {
                let (other, m, about_other) = side(random, "s");
                let all = pick(random, &["UNION", "UNION ALL", "EXCEPT", "INTERSECT"]);
                format!(
                    "SELECT {n} AS n FROM {right} r WHERE {about} {all} SELECT {m} FROM {other} s WHERE {about_other}"
                )
            }
            5 => {
                let (other, m, about_other) = side(random, "s");
                let kind = pick(random, &["JOIN", "LEFT JOIN", "FULL JOIN"]);
                format!(
                    "SELECT p + coalesce(q, 0) AS n FROM (SELECT {n} AS p FROM {right} r WHERE {about}) a \
                     {kind} (SELECT {m} AS q FROM {other} s WHERE {about_other}) b ON p = q"
                )
            }
            6 => format!("SELECT * FROM (VALUES ({key}), ({key} + 1), (3)) v(n) WHERE n > {}", random.below(3)),
            _ => format!("SELECT {n} + {key} AS n FROM {right} r WHERE {about}"),
        }
    }
}

fn scope(relation: &Relation, alias: &str) -> Scope {
    relation.columns.iter().map(|(name, kind)| (format!("{alias}.{name}"), *kind)).collect()
}
