//! CREATE FUNCTION: an entry of the catalog, written out wherever it is called.

use super::{Author, Authored, created_by_users};
use crate::base::{Error, Result, sqlstate};
use crate::catalog::{Relation, RelationKind};
use crate::engine::ddl::Ddl;
use crate::sql::{CreateFunction, Name};

impl Author<'_> {
    /// CREATE [OR REPLACE] FUNCTION.
    pub(in crate::engine) fn function(&self, create: &CreateFunction) -> Result<Authored> {
        let bound = self.binder().function(create)?;
        let name = Name { name: bound.signature.clone(), ..create.name.clone() };
        let schema = self.catalog.schema_to_create_in(name.schema.as_deref())?;
        let old = self.catalog.find(Some(&schema), &name.name);
        if let Some(old) = &old {
            if !create.or_replace {
                return Err(Error::invalid(format!("{} already exists with these parameters", old.title()))
                    .with_code("42723")
                    .with_hint("Choose another name, drop it first, or write CREATE OR REPLACE FUNCTION.")
                    .at(create.name.position));
            }
            self.check_replaced(old, create.name.position)?;
        }
        let id = old.as_ref().map_or_else(|| self.numbers.relation(), |old| old.id);
        let mut function = self.relation(id, &name, RelationKind::Function, bound.parameters.clone())?;
        function.depends_on = created_by_users(&bound.relations);
        let ddl = if old.is_some() { Ddl::Replace(Box::new(function)) } else { Ddl::Create(vec![function]) };
        Ok(Authored::new(ddl, String::new()))
    }

    /// What is kept up to date with the old meaning would no longer equal its query.
    pub(super) fn check_replaced(&self, old: &Relation, position: usize) -> Result<()> {
        let mut open = vec![old.id];
        let mut seen = std::collections::BTreeSet::new();
        while let Some(id) = open.pop() {
            for dependent in self.catalog.dependents(id) {
                if dependent.graph.is_some() {
                    return Err(Error::invalid(format!("cannot replace {}", old.title()))
                        .with_code(sqlstate::DEPENDENT_OBJECTS_EXIST)
                        .with_detail(format!("The {} is kept up to date with its present meaning.", dependent.title()))
                        .with_hint("Drop that first, or choose another name.")
                        .at(position));
                }
                if seen.insert(dependent.id) {
                    open.push(dependent.id);
                }
            }
        }
        Ok(())
    }
}
