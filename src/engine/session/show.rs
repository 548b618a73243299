//! SHOW of objects and jobs, SHOW CREATE, DESCRIBE.

use std::sync::Arc;

use futures::StreamExt;

use crate::base::Result;
use crate::catalog::{Catalog, Relation, RelationKind};
use crate::sql::{self, Declared, Name, ObjectKind, Show};
use crate::types::{Column, Schema, SqlType};

use super::super::api::{Outcome, Tag};
use super::super::request::Request;
use super::Work;
use super::control::text_rows;

const OBJECTS: [&str; 1] = ["name"];
const CREATE: [&str; 2] = ["name", "create_sql"];
const DESCRIBE: [&str; 4] = ["column", "type", "nullable", "note"];

/// Columns of text.
pub(super) fn text(names: &[&str]) -> Schema {
    Schema::new(names.iter().map(|name| Column::new(*name, SqlType::Varchar)).collect())
}

/// The columns of a SHOW, apart from that of a setting.
pub(super) fn show_schema(show: &Show) -> Schema {
    match show {
        Show::Objects(_) => text(&OBJECTS),
        Show::Create { .. } => text(&CREATE),
        Show::AllSettings => text(&["name", "setting", "description"]),
        Show::Setting(name) => text(&[name]),
        Show::Jobs => {
            let jobs = crate::catalog::system_view_definitions().iter().find(|view| view.name == "ms_jobs");
            jobs.map(|view| view.schema.clone()).unwrap_or_default()
        }
    }
}

/// The columns of DESCRIBE.
pub(super) fn describe_schema() -> Schema {
    text(&DESCRIBE)
}

/// The kind of a relation as statements name it; none of those that no statement makes.
fn statement_kind(kind: RelationKind) -> Option<ObjectKind> {
    match kind {
        RelationKind::Source => Some(ObjectKind::Source),
        RelationKind::Table => Some(ObjectKind::Table),
        RelationKind::View => Some(ObjectKind::View),
        RelationKind::MaterializedView => Some(ObjectKind::MaterializedView),
        RelationKind::Sink => Some(ObjectKind::Sink),
        RelationKind::Index(_) => Some(ObjectKind::Index),
        RelationKind::Function => Some(ObjectKind::Function),
        RelationKind::Late(_) | RelationKind::Faults(_) | RelationKind::System => None,
    }
}

/// Fails with 42809 when `relation` is not of `kind`.
pub(super) fn is_kind(relation: &Relation, kind: ObjectKind) -> Result<()> {
    match statement_kind(relation.kind) {
        Some(found) if found == kind => Ok(()),
        _ => Err(relation.is_not(&kind.to_string())),
    }
}

/// The relation, or function, that a statement about `kind` names.
pub(in crate::engine) fn named(catalog: &Catalog, kind: Option<ObjectKind>, name: &Name) -> Result<Arc<Relation>> {
    let schema = name.schema.as_deref();
    let found = match kind {
        Some(ObjectKind::Function) => catalog.resolve_function(schema, &name.name),
        _ => catalog.resolve(schema, &name.name),
    };
    found.map_err(|error| if name.position > 0 { error.at(name.position) } else { error })
}

impl Work<'_> {
    /// SHOW.
    pub(super) async fn show(&mut self, show: &Show) -> Result<Outcome> {
        match show {
            Show::Objects(kind) => {
                let catalog = self.catalog();
                let of_kind = catalog.relations().filter(|relation| statement_kind(relation.kind) == Some(*kind));
                let mut names: Vec<Vec<String>> = of_kind.map(|relation| vec![relation.path()]).collect();
                names.sort();
                text_rows(&OBJECTS, names, "SHOW")
            }
            Show::Create { kind, name } => {
                let relation = named(&self.catalog(), *kind, name)?;
                if let Some(kind) = kind {
                    is_kind(&relation, *kind)?;
                }
                text_rows(&CREATE, vec![vec![relation.path(), relation.show_create()?]], "SHOW")
            }
            Show::Jobs => {
                let rows = self.ask(|reply| Request::SystemView { name: "ms_jobs".into(), reply }).await?;
                let rows = futures::stream::iter([Ok(rows)]).boxed();
                Ok(Outcome::Rows {
                    schema: show_schema(show),
                    rows,
                    follows: false,
                    tag: Tag::Plain("SHOW"),
                    notices: Vec::new(),
                })
            }
            Show::Setting(_) | Show::AllSettings => {
                let mut settings = self.settings.clone();
                let statement = crate::sql::Statement::Show(show.clone());
                super::control::setting(&mut settings, &statement).unwrap_or_else(|| Ok(self.done("SHOW")))
            }
        }
    }

    /// DESCRIBE.
    pub(super) fn describe(&mut self, name: &Name) -> Result<Outcome> {
        let relation = self.resolve(name)?;
        let declared = sql::declared_columns(&relation.sql);
        let row = |(place, column): (usize, &Column)| {
            let nullable = if column.nullable { "yes" } else { "no" };
            let note = note(&relation, &declared, place);
            vec![column.name.clone(), column.ty.to_string(), nullable.to_string(), note]
        };
        text_rows(&DESCRIBE, relation.columns.columns.iter().enumerate().map(row).collect(), "DESCRIBE")
    }

    /// The relation that a name means.
    pub(super) fn resolve(&self, name: &Name) -> Result<Arc<Relation>> {
        let found = self.catalog().resolve(name.schema.as_deref(), &name.name);
        found.map_err(|error| if name.position > 0 { error.at(name.position) } else { error })
    }
}

fn note(relation: &Relation, declared: &[Declared], column: usize) -> String {
    let mut notes = Vec::new();
    if relation.primary_key.contains(&column) {
        notes.push("primary key".to_string());
    }
    if relation.watermark.as_ref().is_some_and(|watermark| watermark.column == column) {
        notes.push("event time".to_string());
    }
    let name = relation.columns.columns.get(column).map(|column| column.name.as_str());
    if let Some(declared) = declared.iter().find(|declared| Some(declared.name.as_str()) == name) {
        notes.extend(declared.default.iter().map(|default| format!("default {default}")));
        notes.extend(declared.generated.iter().map(|generated| format!("generated as {generated}")));
    }
    notes.extend(relation.column_comments.get(&column).cloned());
    notes.join(", ")
}
