//! The catalog as JSON: what manifests keep. Version 2 is version 1 with roles and rights, version 3 has secrets too; each is
//! written only where there are any, so that an older program never opens what it would not protect. `{"version":1,"next_relation":8,"next_job":3,"relations":[...]}`

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::access::Access;
use super::catalog::Catalog;
use super::relation::Relation;
use crate::base::{Error, Result};

/// Without roles and rights.
const VERSION: u32 = 1;

/// With them.
const VERSION_WITH_ACCESS: u32 = 2;

/// With secrets.
const VERSION_WITH_SECRETS: u32 = 3;

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    next_relation: u64,
    next_job: u64,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    schemas: BTreeSet<String>,
    relations: Vec<Arc<Relation>>,
    #[serde(default, skip_serializing_if = "Access::is_default")]
    access: Access,
}

impl Catalog {
    /// As JSON.
    pub fn to_json(&self) -> Result<serde_json::Value> {
        let stored = Stored {
            version: match (self.access.secrets.is_empty(), self.access.is_default()) {
                (false, _) => VERSION_WITH_SECRETS,
                (true, false) => VERSION_WITH_ACCESS,
                (true, true) => VERSION,
            },
            access: Access::clone(&self.access),
            next_relation: self.next_relation,
            next_job: self.next_job,
            schemas: BTreeSet::clone(&self.schemas),
            relations: self.relations.values().map(Arc::clone).collect(),
        };
        serde_json::to_value(stored)
            .map_err(|error| Error::internal("catalog could not be spelled as JSON").caused_by(error))
    }

    /// From the JSON of [`Catalog::to_json`]. Fails with `Corrupt` for another version or for relations that do not fit
    /// together.
    pub fn from_json(json: &serde_json::Value) -> Result<Catalog> {
        let version = json.get("version").and_then(serde_json::Value::as_u64);
        let known = [VERSION, VERSION_WITH_ACCESS, VERSION_WITH_SECRETS].map(u64::from);
        if !version.is_some_and(|version| known.contains(&version)) {
            let found = version.map_or("no version".to_owned(), |version| format!("version {version}"));
            return Err(Error::corrupt(format!(
                "catalog has {found}; this program reads versions {VERSION} to {VERSION_WITH_SECRETS}"
            ))
            .with_hint("Start the version of millstream that wrote this data directory."));
        }
        let stored = Stored::deserialize(json)
            .map_err(|error| broken(&format!("it is not the JSON that was written: {error}")).caused_by(error))?;
        let (mut relations, mut names) = (BTreeMap::new(), HashMap::new());
        for relation in stored.relations {
            let name = (relation.schema_name.clone(), relation.name.clone());
            if relation.id.0 >= stored.next_relation || relation.job.is_some_and(|job| job.0 >= stored.next_job) {
                return Err(broken(&format!("{} has a number that was not given out", relation.title())));
            }
            if names.insert(name, relation.id).is_some() || relations.contains_key(&relation.id) {
                return Err(broken(&format!("{} stands twice", relation.title())));
            }
            relations.insert(relation.id, relation);
        }
        let catalog = Catalog {
            relations: Arc::new(relations),
            names: Arc::new(names),
            next_relation: stored.next_relation,
            next_job: stored.next_job,
            schemas: Arc::new(stored.schemas),
            access: Arc::new(stored.access),
            ..Catalog::default()
        };
        for relation in catalog.relations.values() {
            let mut needed = relation.depends_on.iter().copied().chain(relation.kind.owner());
            if needed.any(|id| catalog.by_id(id).is_none()) {
                return Err(broken(&format!("{} depends on a relation that is not there", relation.title())));
            }
            if relation.secrets.iter().any(|name| catalog.secret(name).is_none()) {
                return Err(broken(&format!("{} uses a secret that is not there", relation.title())));
            }
        }
        Ok(catalog)
    }
}

fn broken(why: &str) -> Error {
    Error::corrupt(format!("catalog is damaged: {why}")).with_hint("Restore the data directory from a backup.")
}
