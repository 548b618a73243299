//! EXPLAIN: of what is kept up to date its logical plan and operators, of a SELECT its physical plan.

use std::sync::Arc;

use crate::base::{Error, Result};
use crate::catalog::postgres::arrow_schema;
use crate::catalog::{Relation, RelationKind};
use crate::plan::for_batch;
use crate::serving::stream_table;
use crate::sql::{BindMode, Binder, Query, Statement as Sql};

use super::super::api::Outcome;
use super::Work;
use super::control::text_rows;

impl Work<'_> {
    /// EXPLAIN.
    pub(super) async fn explain(&mut self, statement: &Sql) -> Result<Outcome> {
        let text = match statement {
            Sql::CreateMaterializedView(_) | Sql::CreateSink(_) => self.author(statement)?.explain,
            Sql::Query(query) => self.explain_query(query).await?,
            Sql::Insert(insert) => {
                let catalog = self.catalog();
                let bound = Binder::new(&catalog, self.handle.queries.session_state()).insert(insert, &[])?;
                self.permit_insert(&bound)?;
                format!("insert into \"{}\"\n{}", bound.table.name, bound.rows.plan.display_indent())
            }
            Sql::Update(update) => {
                let catalog = self.catalog();
                let bound = Binder::new(&catalog, self.handle.queries.session_state()).update(update, &[])?;
                self.permit_update(update, &bound)?;
                format!("update \"{}\"\n{}", bound.table.name, bound.rows.plan.display_indent())
            }
            Sql::Delete(delete) => {
                let catalog = self.catalog();
                let bound = Binder::new(&catalog, self.handle.queries.session_state()).delete(delete, &[])?;
                self.permit_delete(delete, &bound)?;
                format!("delete from \"{}\"\n{}", bound.table.name, bound.rows.plan.display_indent())
            }
            _ => {
                return Err(Error::unsupported("this statement has no plan").with_hint(
                    "EXPLAIN takes SELECT, CREATE MATERIALIZED VIEW, CREATE SINK, INSERT, UPDATE and DELETE.",
                ));
            }
        };
        text_rows(&["QUERY PLAN"], text.lines().map(|line| vec![line.to_string()]).collect(), "EXPLAIN")
    }

    async fn explain_query(&mut self, query: &Query) -> Result<String> {
        let catalog = self.catalog();
        let bound = Binder::new(&catalog, self.handle.queries.session_state()).query(query, BindMode::Read, &[])?;
        self.permit_reads(&bound)?;
        let mut notes = String::new();
        let plan = for_batch(bound.plan.clone(), &mut |relation: &Arc<Relation>| {
            if relation.kind == RelationKind::Source {
                notes.push_str(&format!("{} is read as it is now, without a gate\n", relation.title()));
                return stream_table(&relation.columns, self.bounded(relation)?);
            }
            crate::serving::rows_table(arrow::array::RecordBatch::new_empty(arrow_schema(relation)))
        })?;
        for (relation, index) in self.indexes_for(&bound, &[]) {
            let title = |id| catalog.by_id(id).map_or_else(String::new, |found| found.title());
            notes.push_str(&format!("{} is read by {}\n", title(relation), title(index)));
        }
        let physical = self.handle.queries.explain(plan).await?;
        Ok(format!("{notes}{physical}"))
    }
}
