//! A session that computes nothing: the double behind the tests of wire and cli. Its statements are one word and
//! numbers; it is stricter than the real one: it panics when a position or parameter is not as the contract says.
//!
//! `SELECT n` gives the numbers below n · `TYPES` a row of every type and one of NULLs · `ECHO $1` its parameter ·
//! `TRICKLE`, `FOLLOW` one row, then nothing for ever · `HANG` never ends · `FLOOD` rows without end · `STUBBORN` does not heed its
//! token · `FAIL` an error with all its parts · `PANIC` a bug · `COPY`, `COPY CSV`, `COPY TRICKLE` · `SET a = b` · `SHOW a` ·
//! `BEGIN`, `COMMIT` · `NOTE` a notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::compute::{cast, concat};
use arrow::datatypes::DataType;
use async_trait::async_trait;
use futures::{FutureExt, StreamExt, stream};

use super::*;
use crate::base::scram::Verifier;
use crate::base::{Error, Result, SessionSettings, Settings, sqlstate};
use crate::types::{Column, Schema, SqlType};

/// Gives [`FakeSession`]s and counts statements that run.
#[derive(Default)]
pub struct FakeEngine {
    /// Statements and row streams that are alive.
    pub alive: Arc<AtomicUsize>,
}

#[async_trait]
impl SqlEngine for FakeEngine {
    fn login(&self, user: &str) -> Login {
        match user {
            "locked" => Login::Password(Box::new(Verifier::new("sesame"))),
            _ => Login::Trusted,
        }
    }

    fn asks_passwords(&self) -> bool {
        false
    }

    async fn open_session(&self, user: &str, _process: i32) -> Result<Box<dyn SqlSession>> {
        if user == "nobody" {
            return Err(Error::unavailable("the engine recovers").with_code(sqlstate::CANNOT_CONNECT_NOW));
        }
        Ok(Box::new(FakeSession {
            settings: SessionSettings::new(&Settings::default(), user),
            transaction: TransactionState::Idle,
            alive: Arc::clone(&self.alive),
        }))
    }

    async fn shutdown(&self) -> Result<()> {
        Ok(())
    }
}

/// Checks by echoing.
pub struct FakeChecker;

impl SqlChecker for FakeChecker {
    fn parse(&mut self, sql: &str) -> Result<Vec<Statement>> {
        split(sql)
    }

    fn check(&mut self, statement: &Statement) -> Result<String> {
        match &*statement.text {
            "FAIL" => Err(Error::invalid("relation \"x\" does not exist").at(statement.position + 2)),
            text => Ok(format!("plan of {text}\n")),
        }
    }
}

/// The double.
pub struct FakeSession {
    settings: SessionSettings,
    transaction: TransactionState,
    alive: Arc<AtomicUsize>,
}

/// Counts itself while it lives.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Alive(Arc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn numbers(name: &str, values: impl IntoIterator<Item = i64>) -> (Schema, RecordBatch) {
    let schema = Schema::new(vec![Column::new(name, SqlType::BigInt)]);
    let array: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
    let batch = RecordBatch::try_new(schema.arrow(), vec![array]).unwrap();
    (schema, batch)
}

/// A column of every type with the text of its one value.
pub const EVERY_TYPE: [(SqlType, &str); 14] = [
    (SqlType::Boolean, "true"),
    (SqlType::SmallInt, "-7"),
    (SqlType::Int, "2147483647"),
    (SqlType::BigInt, "-9223372036854775808"),
    (SqlType::Real, "0.25"),
    (SqlType::Double, "1e300"),
    (SqlType::Decimal { precision: 12, scale: 2 }, "-1234.50"),
    (SqlType::Varchar, "grüße\t\"x\""),
    (SqlType::Bytea, "bytes"),
    (SqlType::Date, "2024-02-29"),
    (SqlType::Time, "04:05:06.789"),
    (SqlType::Timestamp, "2024-02-29T12:30:00.5"),
    (SqlType::TimestampTz, "2024-02-29T12:30:00Z"),
    (SqlType::Interval, "1 year 2 days 3 hours"),
];

fn every_type() -> (Schema, RecordBatch) {
    let columns = EVERY_TYPE.iter().enumerate().map(|(i, (ty, _))| Column::new(format!("c{i}"), ty.clone()));
    let schema = Schema::new(columns.collect());
    let arrays = EVERY_TYPE.iter().map(|(ty, text)| {
        let value = cast(&StringArray::from(vec![*text]), &ty.arrow()).unwrap();
        concat(&[value.as_ref(), new_null_array(&ty.arrow(), 1).as_ref()]).unwrap()
    });
    let batch = RecordBatch::try_new(schema.arrow(), arrays.collect()).unwrap();
    (schema, batch)
}

/// Statements between semicolons; `!` is a syntax error.
fn split(sql: &str) -> Result<Vec<Statement>> {
    if sql.contains('!') {
        return Err(Error::syntax("syntax error at or near \"!\"").at(sql.find('!').unwrap() + 1));
    }
    let mut position = 1;
    let mut statements = Vec::new();
    for text in sql.split(';') {
        if !text.trim().is_empty() {
            let blanks = text.chars().take_while(|c| c.is_whitespace()).count();
            let position = position + blanks;
            statements.push(Statement { text: text.trim().into(), position, parsed: Arc::new(()) });
        }
        position += text.chars().count() + 1;
    }
    Ok(statements)
}

fn words(statement: &Statement) -> Vec<String> {
    statement.text.split_whitespace().map(str::to_string).collect()
}

impl FakeSession {
    fn rows(&self, (schema, batch): (Schema, RecordBatch), then: RowStream) -> Outcome {
        let alive = Alive::new(&self.alive);
        let first = stream::iter([Ok(batch)]).chain(then);
        let rows = first.inspect(move |_| assert!(alive.0.load(Ordering::SeqCst) > 0)).boxed();
        Outcome::Rows { schema, rows, follows: false, tag: Tag::Counted("SELECT"), notices: Vec::new() }
    }

    fn copy(&self, outcome: Outcome, format: CopyFormat) -> Outcome {
        match outcome {
            Outcome::Rows { schema, rows, follows, .. } => Outcome::CopyOut { schema, rows, follows, format },
            other => other,
        }
    }

    fn flood(&self) -> Outcome {
        let batches = stream::repeat_with(|| Ok(numbers("n", 0..10_000).1)).boxed();
        self.rows(numbers("n", []), batches)
    }

    fn columns(&self, words: &[&str]) -> Option<Schema> {
        match words {
            ["SELECT", _] | ["TRICKLE" | "FOLLOW" | "FLOOD"] => Some(numbers("n", []).0),
            ["TYPES"] => Some(every_type().0),
            ["ECHO", _] => Some(Schema::new(vec![Column::new("echo", SqlType::Varchar)])),
            ["SHOW", name] => Some(Schema::new(vec![Column::new(*name, SqlType::Varchar)])),
            _ => None,
        }
    }

    async fn run(&mut self, words: &[&str], parameters: &[ArrayRef], cancel: &CancelToken) -> Result<Outcome> {
        let done = |tag: &str| Outcome::Done { tag: tag.to_string(), notices: Vec::new() };
        let text = |name: &str, value: &str| {
            let schema = Schema::new(vec![Column::new(name, SqlType::Varchar)]);
            let array: ArrayRef = Arc::new(StringArray::from(vec![value]));
            (schema.clone(), RecordBatch::try_new(schema.arrow(), vec![array]).unwrap())
        };
        Ok(match words {
            ["SELECT", n] => {
                let n: i64 = n.parse().map_err(|_| Error::syntax("not a number").at(8))?;
                // In batches of seven, so that limits fall inside and between batches.
                let batches: Vec<_> =
                    (0..n).step_by(7).map(|from| Ok(numbers("n", from..(from + 7).min(n)).1)).collect();
                self.rows(numbers("n", []), stream::iter(batches).boxed())
            }
            ["TYPES"] => self.rows(every_type(), stream::empty().boxed()),
            ["ECHO", _] => {
                let parameter = parameters.first().expect("ECHO has a parameter");
                assert_eq!(parameter.len(), 1);
                let value = cast(parameter, &DataType::Utf8)?;
                let value = if value.is_null(0) { "null" } else { value.as_string::<i32>().value(0) };
                self.rows(text("echo", value), stream::empty().boxed())
            }
            ["TRICKLE"] => self.rows(numbers("n", [1]), stream::pending().boxed()),
            ["FOLLOW"] => match self.rows(numbers("n", [1]), stream::pending().boxed()) {
                Outcome::Rows { schema, rows, notices, .. } => {
                    Outcome::Rows { schema, rows, follows: true, tag: Tag::Counted("SUBSCRIBE"), notices }
                }
                other => other,
            },
            ["FLOOD"] => self.flood(),
            ["HANG"] => {
                let _alive = Alive::new(&self.alive);
                let reason = cancel.cancelled().await;
                return Err(reason.error());
            }
            ["STUBBORN"] => {
                let _alive = Alive::new(&self.alive);
                std::future::pending().await
            }
            ["FAIL"] => {
                return Err(Error::invalid("relation \"x\" does not exist")
                    .with_code(sqlstate::UNDEFINED_TABLE)
                    .with_detail("A detail.")
                    .with_hint("Did you mean \"y\"?")
                    .at(3)
                    .context("in view \"v\""));
            }
            ["PANIC"] => panic!("a bug, on purpose"),
            ["COPY", "TRICKLE"] => {
                self.copy(self.rows(numbers("n", [1]), stream::pending().boxed()), CopyFormat::text())
            }
            ["COPY", "CSV"] => self.copy(
                self.rows(every_type(), stream::empty().boxed()),
                CopyFormat { header: true, ..CopyFormat::csv() },
            ),
            ["COPY"] => self.copy(self.rows(every_type(), stream::empty().boxed()), CopyFormat::text()),
            ["SET", name, "=", value] => {
                self.settings.set(name, value)?;
                done("SET")
            }
            ["SHOW", name] => {
                let (name, value) = self.settings.show(name)?;
                let shown = text(name, value);
                match self.rows(shown, stream::empty().boxed()) {
                    Outcome::Rows { schema, rows, follows, notices, .. } => {
                        Outcome::Rows { schema, rows, follows, tag: Tag::Plain("SHOW"), notices }
                    }
                    other => other,
                }
            }
            ["BEGIN"] | ["START", "TRANSACTION"] => {
                self.transaction = TransactionState::Open;
                done("BEGIN")
            }
            ["COMMIT"] => {
                self.transaction = TransactionState::Idle;
                done("COMMIT")
            }
            // What the command line asks of system views: one view, and no job that failed.
            ["SELECT", "name", "FROM", "ms_catalog.ms_jobs", ..] => {
                self.rows(text("name", "v"), stream::empty().boxed())
            }
            ["SELECT", "name," | "name", ..] => self.rows(numbers("n", []), stream::empty().boxed()),
            ["WAIT", "FOR", "\"v\""] => done("WAIT FOR"),
            ["NOTE"] => Outcome::Done {
                tag: "NOTE".to_string(),
                notices: vec![Notice::new("quiet").with_hint("A hint."), Notice::warning("loud")],
            },
            _ => return Err(Error::syntax(format!("syntax error at or near \"{}\"", words.join(" "))).at(1)),
        })
    }
}

#[async_trait]
impl SqlSession for FakeSession {
    fn parse(&mut self, sql: &str) -> Result<Vec<Statement>> {
        split(sql)
    }

    async fn prepare(&mut self, statement: &Statement, parameters: &[Option<SqlType>]) -> Result<Prepared> {
        let words = words(statement);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let count = words.iter().filter(|word| word.starts_with('$')).count();
        let given = |i: usize| parameters.get(i).cloned().flatten().unwrap_or(SqlType::Varchar);
        Ok(Prepared {
            parameters: (0..count).map(given).collect(),
            columns: self.columns(&words),
            ..Prepared::default()
        })
    }

    async fn execute(
        &mut self,
        statement: &Statement,
        parameters: &[ArrayRef],
        cancel: CancelToken,
    ) -> Result<Outcome> {
        let words = words(statement);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let result = self.run(&words, parameters, &cancel).boxed().await;
        if result.is_err() && self.transaction == TransactionState::Open {
            self.transaction = TransactionState::Failed;
        }
        result
    }

    fn directive(&self, _: &Statement) -> Result<Option<Directive>> {
        Ok(None)
    }

    async fn copy_in(&mut self, _: &Statement, rows: Vec<RecordBatch>, _: CancelToken) -> Result<Outcome> {
        let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
        Ok(Outcome::Done { tag: format!("COPY {count}"), notices: Vec::new() })
    }

    async fn fail(&mut self) {
        if self.transaction == TransactionState::Open {
            self.transaction = TransactionState::Failed;
        }
    }

    async fn open_together(&mut self, _statements: &[Statement]) -> Result<bool> {
        Ok(false)
    }

    async fn close_together(&mut self, _effect: bool) -> Result<()> {
        Ok(())
    }

    fn transaction(&self) -> TransactionState {
        self.transaction
    }

    fn settings(&self) -> &SessionSettings {
        &self.settings
    }

    fn settings_mut(&mut self) -> &mut SessionSettings {
        &mut self.settings
    }
}
