//! FLUSH, WAIT FOR, SET, RESET, and SHOW of a setting.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use futures::StreamExt;

use crate::base::{Error, Result, SessionSettings, sqlstate};
use crate::catalog::RelationKind;
use crate::sql::{Name, Show, Statement as Sql};
use crate::types::{Column, RelationId, Schema, SqlType};

use super::super::api::{Outcome, Tag};
use super::super::request::Request;
use super::Work;

/// Answers a statement on settings; `None` for any other.
pub(super) fn setting(settings: &mut SessionSettings, statement: &Sql) -> Option<Result<Outcome>> {
    match statement {
        Sql::Set(set) => {
            let done = match &set.value {
                Some(value) => settings.set(&set.name, value),
                None => settings.reset(&set.name),
            };
            Some(done.map(|()| done_with("SET")).map_err(|error| error.at(set.position)))
        }
        Sql::Reset(name) => Some(settings.reset(name.as_deref().unwrap_or("ALL")).map(|()| done_with("RESET"))),
        Sql::Show(Show::Setting(name)) => Some(
            settings
                .show(name)
                .map(|(name, value)| (name, value.to_string()))
                .and_then(|(name, value)| text_rows(&[name], vec![vec![value]], "SHOW")),
        ),
        Sql::Show(Show::AllSettings) => {
            let rows =
                settings.all().map(|(name, value, doc)| vec![name.to_string(), value.to_string(), doc.to_string()]);
            let rows = rows.collect();
            Some(text_rows(&["name", "setting", "description"], rows, "SHOW"))
        }
        _ => None,
    }
}

fn done_with(tag: &str) -> Outcome {
    Outcome::Done { tag: tag.to_string(), notices: Vec::new() }
}

/// Rows of text that are known at once.
pub(super) fn text_rows(names: &[&str], rows: Vec<Vec<String>>, tag: &'static str) -> Result<Outcome> {
    let schema = Schema::new(names.iter().map(|name| Column::new(*name, SqlType::Varchar)).collect());
    let column = |i: usize| -> ArrayRef { Arc::new(rows.iter().map(|row| row.get(i)).collect::<StringArray>()) };
    let batch = RecordBatch::try_new(schema.arrow(), (0..names.len()).map(column).collect())?;
    let rows = futures::stream::iter([Ok(batch)]).boxed();
    Ok(Outcome::Rows { schema, rows, follows: false, tag: Tag::Plain(tag), notices: Vec::new() })
}

impl Work<'_> {
    /// FLUSH.
    pub(super) async fn flush(&mut self) -> Result<Outcome> {
        let deadline = self.read_deadline();
        let epoch = self.ask(|reply| Request::Flush { deadline, reply }).await?;
        self.inner.least = self.inner.least.max(epoch);
        Ok(self.done("FLUSH"))
    }

    /// REFRESH MATERIALIZED VIEW.
    pub(super) async fn refresh(&mut self, name: &Name) -> Result<Outcome> {
        let found =
            self.catalog().resolve(name.schema.as_deref(), &name.name).map_err(|error| error.at(name.position))?;
        if found.kind != RelationKind::MaterializedView {
            return Err(Error::invalid(format!("{} is not a materialized view", found.title()))
                .with_code(sqlstate::WRONG_OBJECT_TYPE)
                .with_hint("Leave REFRESH out: only materialized views have contents of their own, and they are kept up to date.")
                .at(name.position));
        }
        self.wait_for(std::slice::from_ref(name)).await?;
        Ok(self.done("REFRESH MATERIALIZED VIEW"))
    }

    /// WAIT FOR.
    pub(super) async fn wait_for(&mut self, names: &[Name]) -> Result<Outcome> {
        let catalog = self.catalog();
        let mut relations: Vec<RelationId> = Vec::new();
        for name in names {
            let found = catalog.resolve(name.schema.as_deref(), &name.name).map_err(|error| error.at(name.position))?;
            match found.kind {
                RelationKind::Table
                | RelationKind::MaterializedView
                | RelationKind::Sink
                | RelationKind::Late(_)
                | RelationKind::Faults(_) => relations.push(found.id),
                RelationKind::Source
                | RelationKind::View
                | RelationKind::Index(_)
                | RelationKind::Function
                | RelationKind::System => {
                    return Err(Error::invalid(format!("nothing of {} can be waited for", found.title()))
                        .with_code(sqlstate::WRONG_OBJECT_TYPE)
                        .with_hint("Wait for a materialized view, a table or a sink.")
                        .at(name.position));
                }
            }
        }
        let epoch = self.ask(|reply| Request::WaitFor { relations, reply }).await?;
        self.inner.least = self.inner.least.max(epoch);
        Ok(self.done("WAIT FOR"))
    }
}
