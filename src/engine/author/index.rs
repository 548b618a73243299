//! CREATE INDEX: a relation that belongs to another one, and the job that keeps it.

use super::{Author, Authored, graph_text};
use crate::base::{Error, Result, did_you_mean, sqlstate};
use crate::catalog::{Relation, RelationKind};
use crate::engine::ddl::Ddl;
use crate::plan::plan_index;
use crate::sql::{CreateIndex, Name};

impl Author<'_> {
    /// CREATE INDEX.
    pub(in crate::engine) fn index(&self, create: &CreateIndex) -> Result<Authored> {
        let at = create.relation.position;
        let found = self.catalog.resolve(create.relation.schema.as_deref(), &create.relation.name);
        let of = found.map_err(|error| error.at(at))?;
        let columns = places(create, &of)?;
        let id = self.numbers.relation();
        let (graph, key) = plan_index(&of, id, &columns).map_err(|error| error.at(at))?;
        let name = self.index_name(create, &of);
        let mut index = self.relation(id, &name, RelationKind::Index(of.id), of.columns.clone())?;
        index.schema_name.clone_from(&of.schema_name);
        index.primary_key = key;
        index.append_only = of.append_only;
        index.job = Some(self.numbers.job());
        let explain = graph.to_string();
        index.graph = Some(graph_text(&graph)?);
        Ok(Authored::new(Ddl::Create(vec![index]), explain))
    }

    /// The name that was given, or `relation_column_idx` with a number behind if that is taken.
    pub(in crate::engine) fn index_name(&self, create: &CreateIndex, of: &Relation) -> Name {
        if let Some(name) = &create.name {
            return Name { schema: Some(of.schema_name.clone()), ..name.clone() };
        }
        let columns = create.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join("_");
        let base = format!("{}_{columns}_idx", of.name);
        let numbered = (1u32..).map(|number| format!("{base}{number}"));
        let free = |name: &String| self.catalog.find(Some(&of.schema_name), name).is_none();
        let name = std::iter::once(base.clone()).chain(numbered).find(free).unwrap_or(base);
        Name { schema: Some(of.schema_name.clone()), name, position: create.relation.position }
    }
}

fn places(create: &CreateIndex, of: &Relation) -> Result<Vec<usize>> {
    let mut columns = Vec::new();
    for name in &create.columns {
        let Some(place) = of.columns.index_of(&name.name) else {
            let names = of.columns.columns.iter().map(|column| column.name.as_str());
            let error = Error::invalid(format!("column \"{}\" does not exist", name.name));
            let error = error.with_code(sqlstate::UNDEFINED_COLUMN).at(name.position);
            return Err(match did_you_mean(&name.name, names) {
                Some(hint) => error.with_hint(hint),
                None => error,
            });
        };
        if columns.contains(&place) {
            return Err(Error::invalid(format!("column \"{}\" appears twice in the index", name.name))
                .with_code(sqlstate::DUPLICATE_COLUMN)
                .with_hint("Name it once.")
                .at(name.position));
        }
        columns.push(place);
    }
    Ok(columns)
}
