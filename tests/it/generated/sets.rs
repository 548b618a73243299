//! UNION, INTERSECT and EXCEPT, with and without ALL, of two or three sides whose rows often meet.

use millstream::base::random::Random;

use super::query::{Draft, Feature, Generator, Kind, View, expression, pick, predicate};

impl Generator {
    /// A set operation of columns with few values, so that rows come on both sides, and more than once.
    pub(super) fn set_operation(&mut self, random: &mut Random, i: usize) -> View {
        let mut draft = Draft::default();
        let count = if random.one_in(4) { 3 } else { 2 };
        let sides: Vec<_> = (0..count).map(|_| self.relation(random, |r| r.columns.len() > 1)).collect();
        let has = |kind: Kind| sides.iter().all(|side| side.columns.iter().any(|(_, other)| *other == kind));
        let few = [Kind::Int, Kind::Text, Kind::Boolean, Kind::Date, Kind::Timestamp, Kind::TimestampTz];
        let mut kinds: Vec<Kind> = few.into_iter().filter(|kind| has(*kind)).collect();
        while kinds.len() > 2 {
            kinds.remove(random.below(kinds.len() as u64) as usize);
        }
        if kinds.is_empty() {
            kinds.push(Kind::Int);
        }
        let mut parts = Vec::new();
        for side in &sides {
            let mut part = Draft { from: side.name.clone(), ..Draft::default() };
            draft.reads.push(side.name.clone());
            part.select = kinds.iter().map(|kind| (few_values(random, &side.columns, *kind), *kind)).collect();
            if random.one_in(3) {
                draft.has(Feature::Filter);
                part.filter = Some(predicate(random, &side.columns, 1));
            }
            parts.push(part.sql());
        }
        let mut sql = parts.remove(0);
        for part in parts {
            let (word, feature) = *random
                .pick(&[
                    ("UNION", Feature::Union),
                    ("INTERSECT", Feature::Intersect),
                    ("EXCEPT", Feature::Except),
                    ("INTERSECT ALL", Feature::IntersectAll),
                    ("EXCEPT ALL", Feature::ExceptAll),
                    ("EXCEPT ALL", Feature::ExceptAll),
                ])
                .expect("not empty");
            draft.has(feature);
            sql = format!("({sql}) {word} {part}");
        }
        if draft.reads.iter().any(|name| name.starts_with('v')) {
            draft.has(Feature::ViewOnView);
        }
        draft.select = kinds.iter().map(|kind| (String::new(), *kind)).collect();
        self.finish(i, sql, draft)
    }
}

fn few_values(random: &mut Random, columns: &[(String, Kind)], kind: Kind) -> String {
    let value = expression(random, columns, kind, 0);
    match kind {
        Kind::Int => format!("({value}) % {}", pick(random, &["2", "3", "5"])),
        Kind::Timestamp | Kind::TimestampTz => format!("date_trunc('hour', {value})"),
        _ => value,
    }
}
