//! Changes of the catalog as the epoch log keeps them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::{Error, Result};
use crate::catalog::{AccessChange, Catalog, Relation, SecretChange};
use crate::types::RelationId;

/// One change of the catalog; it takes effect whole, at one epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ddl {
    /// New relations: one that was named by a statement, then its late rows and faults.
    Create(Vec<Relation>),
    /// A schema.
    CreateSchema(String),
    /// A view in the place of the one with its number.
    Replace(Box<Relation>),
    /// Relations to be forgotten, with what belongs to them.
    Drop {
        /// Those that were named.
        relations: Vec<RelationId>,
        /// Whether what depends on them goes too.
        cascade: bool,
    },
    /// A schema to be forgotten.
    DropSchema {
        /// Its name.
        name: String,
        /// Whether what is in it goes too.
        cascade: bool,
    },
    /// Another name for a relation.
    Rename {
        /// Which.
        relation: RelationId,
        /// Its new name.
        name: String,
        /// The statements that name it, written anew, by the relations that they made.
        texts: BTreeMap<RelationId, String>,
    },
    /// Roles and rights.
    Access(AccessChange),
    /// Secrets, without their values.
    Secret(SecretChange),
    /// Several changes at one epoch.
    Together(Vec<Ddl>),
    /// What a relation, or a column of it, is for.
    Comment {
        /// Which.
        relation: RelationId,
        /// The place of the column.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        column: Option<usize>,
        /// The text; none: no comment any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
}

/// What a change did to the catalog.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Relations that are new, each after what it depends on.
    pub created: Vec<Arc<Relation>>,
    /// Relations that are gone, dependents first.
    pub dropped: Vec<Arc<Relation>>,
}

impl Ddl {
    /// As it lies in the log.
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|error| Error::internal("change of the catalog is not spelled as JSON").caused_by(error))
    }

    /// From the bytes of [`Ddl::encode`].
    pub(super) fn decode(bytes: &[u8]) -> Result<Ddl> {
        serde_json::from_slice(bytes).map_err(|error| {
            Error::corrupt("change of the catalog in the epoch log is not readable")
                .with_hint("Start the version of millstream that wrote this data directory.")
                .caused_by(error)
        })
    }

    /// Makes the change in `catalog`; on an error nothing is changed.
    pub(super) fn apply(&self, catalog: &mut Catalog) -> Result<Applied> {
        let mut changed = catalog.clone();
        let mut applied = Applied::default();
        match self {
            Ddl::Create(relations) => {
                for relation in relations {
                    applied.created.push(changed.create(relation.clone())?);
                }
            }
            Ddl::Replace(relation) => drop(changed.replace(Relation::clone(relation))?),
            Ddl::CreateSchema(name) => changed.create_schema(name)?,
            Ddl::DropSchema { name, cascade } => applied.dropped.extend(changed.drop_schema(name, *cascade)?),
            Ddl::Rename { relation, name, texts } => changed.rename(*relation, name, texts)?,
            Ddl::Together(parts) => {
                for part in parts {
                    let part = part.apply(&mut changed)?;
                    applied.created.extend(part.created);
                    applied.dropped.extend(part.dropped);
                }
            }
            Ddl::Access(change) => changed.change_access(change)?,
            Ddl::Secret(change) => applied.dropped.extend(changed.change_secrets(change)?),
            Ddl::Comment { relation, column, text } => changed.comment(*relation, *column, text.as_deref())?,
            Ddl::Drop { relations, cascade } => {
                for relation in relations {
                    // A cascade may have taken it already.
                    if changed.by_id(*relation).is_some() {
                        applied.dropped.extend(changed.drop(*relation, *cascade)?);
                    }
                }
            }
        }
        *catalog = changed;
        Ok(applied)
    }
}
