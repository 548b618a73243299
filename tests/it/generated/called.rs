//! Functions made with CREATE FUNCTION, operators of JSONB, `*` over merged columns.

use millstream::base::random::Random;

use super::query::{Draft, Feature, Generator, Kind, Relation, Scope, expression, group, pick, predicate, projection};

/// The functions of every round: signature and statement.
pub(super) const FUNCTIONS: [(&str, &str); 3] = [
    (
        "f_side(bigint)",
        "CREATE FUNCTION f_side(n BIGINT) RETURNS BIGINT LANGUAGE sql
         RETURN CASE WHEN n < 2 THEN -1 WHEN n > 4 THEN 1 ELSE 0 END",
    ),
    (
        "f_tag(character varying, bigint)",
        "CREATE FUNCTION f_tag(s VARCHAR, n BIGINT) RETURNS VARCHAR LANGUAGE sql STRICT
         RETURN s || ':' || f_side(n)",
    ),
    (
        "f_or(bigint, bigint)",
        "CREATE FUNCTION f_or(a BIGINT, b BIGINT) RETURNS BIGINT LANGUAGE sql RETURN coalesce(a, b, 7)",
    ),
];

impl Generator {
    /// One view of the head of this file.
    pub(super) fn called(&self, random: &mut Random) -> Draft {
        match random.below(5) {
            0 => self.functions(random),
            1 => self.documents(random),
            2 => self.star(random),
            3 => self.about_a_range(random),
            _ => self.about_rows(random),
        }
    }

    fn functions(&self, random: &mut Random) -> Draft {
        let mut draft = Draft::default();
        draft.has(Feature::SqlFunction);
        let scope = self.one_relation(random, &mut draft);
        let with_calls: Scope = scope.iter().cloned().chain((0..3).map(|_| call(random, &scope))).collect();
        self.maybe_filter(random, &with_calls, &mut draft, 2);
        if random.one_in(2) {
            group(random, &with_calls, &mut draft, 3);
        } else {
            draft.select = projection(random, &scope);
            draft.select.extend(with_calls.into_iter().skip(scope.len()));
        }
        draft
    }

    /// Documents made of a row's values, asked for their parts.
    fn documents(&self, random: &mut Random) -> Draft {
        let mut draft = Draft::default();
        draft.has(Feature::Jsonb);
        let scope = self.one_relation(random, &mut draft);
        let document = document(random, &scope);
        let path = pick(random, &["a", "b", "d", "l"]);
        let asked: Scope = vec![
            (format!("({document} ->> '{path}')"), Kind::Text),
            (format!("({document} -> 'l' ->> {})", pick(random, &["0", "-1", "5"])), Kind::Text),
            (format!("({document} #>> '{{d,{path}}}')"), Kind::Text),
            (format!("({document} @> '{}')", pick(random, &[r#"{"a": 1}"#, r#"{"b": null}"#, "{}"])), Kind::Boolean),
            (format!("({document} ? '{path}')"), Kind::Boolean),
            (format!("(({document} || '{{\"a\": true}}') ->> 'a')"), Kind::Text),
            (format!("({document} - 'a')::text"), Kind::Text),
            (format!("jsonb_typeof({document} -> '{path}')"), Kind::Text),
        ];
        self.maybe_filter(random, &asked, &mut draft, 2);
        if random.one_in(3) {
            group(random, &asked, &mut draft, 3);
        } else {
            draft.select = projection(random, &asked);
        }
        draft
    }

    /// `*` over joins by USING and NATURAL, every kind.
    fn star(&self, random: &mut Random) -> Draft {
        let mut draft = Draft::default();
        draft.has(Feature::MergedStar);
        let side = |random: &mut Random, draft: &mut Draft, name: &str| {
            let relation = self.with_int(random);
            draft.reads.push(relation.name.clone());
            let scope = relation.columns.clone();
            let key = int_column(random, &relation);
            let kind = *random.pick(&[Kind::Int, Kind::Text, Kind::Date]).expect("not empty");
            let value = expression(random, &scope, kind, 0);
            let filter =
                if random.one_in(2) { String::new() } else { format!(" WHERE {}", predicate(random, &scope, 1)) };
            (format!("(SELECT {key} AS k, {value} AS {name} FROM {}{filter})", relation.name), kind)
        };
        let ((left, p), (right, q)) = (side(random, &mut draft, "p"), side(random, &mut draft, "q"));
        let kind = pick(random, &["", "LEFT ", "RIGHT ", "FULL ", "FULL "]);
        let aliases = pick(random, &["a b", "b a"]).split_once(' ').expect("two");
        let join = match random.one_in(2) {
            true => format!("{left} AS {} NATURAL {kind}JOIN {right} AS {}", aliases.0, aliases.1),
            false => format!("{left} AS {} {kind}JOIN {right} AS {} USING (k)", aliases.0, aliases.1),
        };
        draft.from = format!("(SELECT * FROM {join}) AS w");
        let scope: Scope = vec![("w.k".into(), Kind::Int), ("w.p".into(), p), ("w.q".into(), q)];
        self.maybe_filter(random, &scope, &mut draft, 3);
        draft.select = scope;
        draft
    }

    pub(super) fn with_int(&self, random: &mut Random) -> Relation {
        self.relation(random, |relation| relation.columns.iter().any(|(_, kind)| *kind == Kind::Int))
    }
}

pub(super) fn int_column(random: &mut Random, relation: &Relation) -> String {
    let ints = relation.columns.iter().filter(|(_, kind)| *kind == Kind::Int).map(|(name, _)| name);
    let ints: Vec<&String> = ints.collect();
    let key = ints.iter().find(|name| name.as_str() == "k").or_else(|| random.pick(&ints));
    (*key.expect("it has an integer")).clone()
}

/// A call of one of [`FUNCTIONS`].
fn call(random: &mut Random, scope: &Scope) -> (String, Kind) {
    let int = |random: &mut Random| expression(random, scope, Kind::Int, 0);
    match random.below(3) {
        0 => (format!("f_side({})", int(random)), Kind::Int),
        1 => {
            let text = expression(random, scope, Kind::Text, 0);
            (format!("f_tag({text}, {})", int(random)), Kind::Text)
        }
        _ => (format!("f_or({}, {})", int(random), int(random)), Kind::Int),
    }
}

fn document(random: &mut Random, scope: &Scope) -> String {
    let (a, b) = (expression(random, scope, Kind::Int, 0), expression(random, scope, Kind::Text, 0));
    let c = expression(random, scope, Kind::Boolean, 0);
    format!(
        "jsonb_build_object('a', {a}, 'b', {b}, 'd', jsonb_build_object('a', {c}), 'l', jsonb_build_array({b}, {a}))"
    )
}
