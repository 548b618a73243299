//! The test's own copy of the tables, and random changes of it.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use millstream::base::random::Random;
use millstream::types::{Column, Schema, SqlType};

/// A value as text; `None` is NULL.
pub type Value = Option<String>;

/// A table with its rows.
pub struct Table {
    pub name: &'static str,
    pub columns: Vec<(&'static str, SqlType)>,
    /// Places of the primary key's columns; empty: rows may stand in it more than once.
    pub key: Vec<usize>,
    pub rows: Vec<Vec<Value>>,
}

const WORDS: [&str; 6] = ["ant", "bee", "cat", "Bee", "", "a b"];
const SPANS: [&str; 5] = ["1 hour", "90 minutes", "2 days", "1 month", "1 second"];

impl Table {
    /// The tables of every round: all types, with and without primary keys.
    pub fn all() -> Vec<Table> {
        let decimal = |precision, scale| SqlType::Decimal { precision, scale };
        let table = |name, key: &[usize], columns: Vec<(&'static str, SqlType)>| Table {
            name,
            columns,
            key: key.to_vec(),
            rows: Vec::new(),
        };
        vec![
            table(
                "t0",
                &[0],
                vec![
                    ("id", SqlType::Int),
                    ("k", SqlType::Int),
                    ("a", SqlType::BigInt),
                    ("d", decimal(12, 2)),
                    ("x", SqlType::Double),
                    ("s", SqlType::Varchar),
                    ("b", SqlType::Boolean),
                    ("ts", SqlType::Timestamp),
                    ("tz", SqlType::TimestampTz),
                    ("day", SqlType::Date),
                    ("span", SqlType::Interval),
                ],
            ),
            table(
                "t1",
                &[],
                vec![
                    ("k", SqlType::BigInt),
                    ("a", SqlType::Int),
                    ("d", decimal(10, 3)),
                    ("s", SqlType::Varchar),
                    ("ts", SqlType::Timestamp),
                    ("b", SqlType::Boolean),
                ],
            ),
            table(
                "t2",
                &[0, 1],
                vec![
                    ("k", SqlType::Int),
                    ("s", SqlType::Varchar),
                    ("a", SqlType::BigInt),
                    ("x", SqlType::Double),
                    ("day", SqlType::Date),
                    ("tz", SqlType::TimestampTz),
                ],
            ),
        ]
    }

    pub fn schema(&self) -> Schema {
        let column = |(i, (name, ty)): (usize, &(&str, SqlType))| {
            let mut column = Column::new(*name, ty.clone());
            column.nullable = !self.key.contains(&i);
            column
        };
        Schema::new(self.columns.iter().enumerate().map(column).collect())
    }

    pub fn create_sql(&self) -> String {
        let mut parts: Vec<String> = self.columns.iter().map(|(name, ty)| format!("{name} {ty}")).collect();
        if !self.key.is_empty() {
            let key: Vec<&str> = self.key.iter().map(|&i| self.columns[i].0).collect();
            parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
        }
        format!("CREATE TABLE {} ({})", self.name, parts.join(", "))
    }

    /// The rows as Arrow lays them out, by Arrow's own reading of their text.
    pub fn batch(&self) -> RecordBatch {
        let arrow = self.schema().arrow();
        let columns = arrow.fields().iter().enumerate().map(|(i, field)| {
            let texts: ArrayRef = Arc::new(self.rows.iter().map(|row| row[i].as_deref()).collect::<StringArray>());
            let options = CastOptions { safe: false, ..CastOptions::default() };
            cast_with_options(&texts, field.data_type(), &options).unwrap()
        });
        RecordBatch::try_new(Arc::clone(&arrow), columns.collect()).unwrap()
    }

    /// One epoch's statements, which are done to the copy too.
    pub fn change(&mut self, random: &mut Random) -> Vec<String> {
        let mut statements = Vec::new();
        let most = if self.rows.len() < 12 { 14 } else { 6 };
        let inserted: Vec<Vec<Value>> = (0..random.below(most)).filter_map(|_| self.new_row(random)).collect();
        if !inserted.is_empty() {
            let rows: Vec<String> = inserted.iter().map(|row| self.row_sql(row)).collect();
            statements.push(format!("INSERT INTO {} VALUES {}", self.name, rows.join(", ")));
        }
        if !random.one_in(4) {
            statements.push(self.update(random));
        }
        if !random.one_in(3) {
            let (column, value, sql) = self.condition(random);
            self.rows.retain(|row| row[column].as_ref() != Some(&value));
            statements.push(format!("DELETE FROM {} WHERE {sql}", self.name));
        }
        statements
    }

    /// A random row, already in the copy; none if its key is there.
    fn new_row(&mut self, random: &mut Random) -> Option<Vec<Value>> {
        let row: Vec<Value> = (0..self.columns.len()).map(|i| self.value(i, random)).collect();
        let same_key = |other: &Vec<Value>| self.key.iter().all(|&i| other[i] == row[i]);
        if !self.key.is_empty() && self.rows.iter().any(same_key) {
            return None;
        }
        self.rows.push(row.clone());
        Some(row)
    }

    fn value(&self, column: usize, random: &mut Random) -> Value {
        let (name, ty) = &self.columns[column];
        if !self.key.contains(&column) && random.one_in(6) {
            return None;
        }
        let text = match ty {
            SqlType::Int | SqlType::BigInt => match *name {
                "id" => random.below(60).to_string(),
                "k" => random.below(7).to_string(),
                _ => random.between(-20, 20).to_string(),
            },
            SqlType::Decimal { scale, .. } => {
                let unit = 10i64.pow(*scale as u32);
                let units = random.between(0, 50 * unit);
                format!("{}.{:0width$}", units / unit, units % unit, width = *scale as usize)
            }
            SqlType::Double => format!("{}", random.between(-400, 400) as f64 / 8.0),
            SqlType::Varchar => (*random.pick(&WORDS)?).to_string(),
            SqlType::Boolean => random.one_in(2).to_string(),
            SqlType::Timestamp => format!("2024-03-01 {}", clock(random)),
            SqlType::TimestampTz => format!("2024-03-01 {}+00:00", clock(random)),
            SqlType::Date => format!("2024-02-{:02}", 26 + random.below(4)),
            SqlType::Interval => (*random.pick(&SPANS)?).to_string(),
            SqlType::SmallInt | SqlType::Real | SqlType::Bytea | SqlType::Time => return None,
            SqlType::Uuid | SqlType::Jsonb | SqlType::Array(_) | SqlType::Row(_) => return None,
        };
        Some(text)
    }

    fn update(&mut self, random: &mut Random) -> String {
        let (column, value, condition) = self.condition(random);
        let free: Vec<usize> = (0..self.columns.len()).filter(|i| !self.key.contains(i)).collect();
        let target = *random.pick(&free).expect("not all columns are key");
        let (name, ty) = &self.columns[target];
        let counts = matches!(ty, SqlType::Int | SqlType::BigInt) && *name == "a";
        let step = random.between(1, 3);
        let set = (!(counts && random.one_in(2))).then(|| self.value(target, random));
        let matched = self.rows.iter_mut().filter(|row| row[column].as_ref() == Some(&value));
        for row in matched {
            row[target] = match &set {
                Some(value) => value.clone(),
                None => row[target].as_ref().map(|a| (a.parse::<i64>().unwrap() + step).to_string()),
            };
        }
        let set = match &set {
            Some(value) => self.literal(target, value),
            None => format!("{name} + {step}"),
        };
        format!("UPDATE {} SET {name} = {set} WHERE {condition}", self.name)
    }

    /// A condition that some row probably meets: column, value, SQL.
    fn condition(&self, random: &mut Random) -> (usize, String, String) {
        let equal_as_text = |i: &usize| matches!(self.columns[*i].1, SqlType::Int | SqlType::BigInt | SqlType::Varchar);
        let columns: Vec<usize> = (0..self.columns.len()).filter(equal_as_text).collect();
        let column = *random.pick(&columns).expect("every table has one");
        let there = random.pick(&self.rows).and_then(|row| row[column].clone());
        let value = there.or_else(|| self.value(column, random)).unwrap_or_else(|| "3".into());
        let literal = self.literal(column, &Some(value.clone()));
        (column, value, format!("{} = {literal}", self.columns[column].0))
    }

    fn row_sql(&self, row: &[Value]) -> String {
        let values: Vec<String> = row.iter().enumerate().map(|(i, value)| self.literal(i, value)).collect();
        format!("({})", values.join(", "))
    }

    fn literal(&self, column: usize, value: &Value) -> String {
        match (value, &self.columns[column].1) {
            (None, _) => "NULL".into(),
            (Some(text), SqlType::Int | SqlType::BigInt | SqlType::Decimal { .. } | SqlType::Boolean) => text.clone(),
            (Some(text), SqlType::Double) => text.clone(),
            (Some(text), SqlType::Interval) => format!("INTERVAL '{text}'"),
            (Some(text), SqlType::Timestamp) => format!("TIMESTAMP '{text}'"),
            (Some(text), _) => format!("'{text}'"),
        }
    }
}

fn clock(random: &mut Random) -> String {
    format!("{:02}:{:02}:{:02}", 10 + random.below(3), random.below(60), random.below(60))
}
