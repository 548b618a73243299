//! Functions that users made: relations whose names are signatures, `double(integer)`.

use std::sync::Arc;

use super::catalog::Catalog;
use super::relation::{Relation, RelationKind};
use crate::base::{Error, Result, did_you_mean, sqlstate};

/// The name of a function without the types of its parameters.
fn plain(signature: &str) -> &str {
    signature.split('(').next().unwrap_or(signature)
}

impl Catalog {
    /// The functions called `name`, whatever their parameters: in `schema`, or in the first schema of the path that has any.
    pub fn functions(&self, schema: Option<&str>, name: &str) -> Vec<Arc<Relation>> {
        let here = |schema: &str| {
            let ours = |relation: &&Arc<Relation>| {
                relation.kind == RelationKind::Function
                    && relation.schema_name == schema
                    && plain(&relation.name) == name
            };
            self.relations.values().filter(ours).map(Arc::clone).collect::<Vec<_>>()
        };
        match schema {
            Some(schema) => here(schema),
            None => self.path().iter().map(|schema| here(schema)).find(|found| !found.is_empty()).unwrap_or_default(),
        }
    }

    /// The names of all functions, without the types of their parameters.
    pub fn function_names(&self) -> impl Iterator<Item = &str> {
        let functions = self.relations.values().filter(|relation| relation.kind == RelationKind::Function);
        functions.map(|relation| plain(&relation.name))
    }

    /// The function that `name` means: a signature, or a name that only one function has. Fails with 42883 when there is
    /// none, with 42725 when there are several.
    pub fn resolve_function(&self, schema: Option<&str>, name: &str) -> Result<Arc<Relation>> {
        if let Some(schema) = schema {
            self.require_schema(schema)?;
        }
        let mut found = self.functions(schema, plain(name));
        if name.contains('(') {
            found.retain(|function| function.name == name);
        }
        match found.as_slice() {
            [function] => Ok(Arc::clone(function)),
            [] => {
                let error = Error::invalid(format!("function \"{name}\" does not exist"))
                    .with_code(sqlstate::UNDEFINED_FUNCTION);
                let known: Vec<&str> = self.function_names().collect();
                Err(match did_you_mean(plain(name), known) {
                    Some(hint) => error.with_hint(hint),
                    None => error,
                })
            }
            several => {
                let names: Vec<&str> = several.iter().map(|function| function.name.as_str()).collect();
                Err(Error::invalid(format!("function name \"{name}\" is not unique"))
                    .with_code("42725")
                    .with_hint(format!("Tell the types of its parameters: {}.", names.join(" or "))))
            }
        }
    }
}
