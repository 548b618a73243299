//! Rights on the objects of the catalog: whose they are, and what someone may do with them.

use serde::{Deserialize, Serialize};

use super::super::catalog::Catalog;
use super::super::relation::{Relation, RelationKind, schemas};
use super::{Identity, ObjectClass, Privilege, Rights};
use crate::base::{Error, Result, sqlstate};
use crate::types::RelationId;

/// Relations that only superusers read: they hold what passwords are checked with.
const CLOSED: [&str; 2] = ["pg_authid", "pg_shadow"];

/// Something that belongs to someone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Object {
    /// A relation or function.
    Relation(RelationId),
    /// A schema.
    Schema(String),
    /// The database.
    Database,
    /// A secret.
    Secret(String),
}

impl Catalog {
    /// The rights of `relation`: of late rows, faults and indexes those of the relation to which they belong.
    pub fn relation_rights(&self, relation: &Relation) -> Rights {
        let ruling = relation.kind.owner().and_then(|owner| self.by_id(owner));
        ruling.map_or_else(|| relation.rights.clone(), |ruling| ruling.rights.clone())
    }

    /// The rights of `object` with its class, and whether it is the schema `public`; none when it is gone.
    pub fn rights(&self, object: &Object) -> Option<(Rights, ObjectClass, bool)> {
        match object {
            Object::Relation(id) => {
                let relation = self.by_id(*id)?;
                Some((self.relation_rights(&relation), class_of(relation.kind), false))
            }
            Object::Schema(name) => {
                let known = self.access.schemas.get(name).cloned();
                let rights = known.or_else(|| self.has_schema(name).then(Rights::default))?;
                Some((rights, ObjectClass::Schema, name == schemas::PUBLIC))
            }
            Object::Database => Some((self.access.database.clone(), ObjectClass::Database, false)),
            Object::Secret(name) => Some((self.secret(name)?.rights.clone(), ObjectClass::Secret, false)),
        }
    }

    /// Kind and name of `object` as messages say them.
    pub fn object_title(&self, object: &Object) -> String {
        match object {
            Object::Relation(id) => self.by_id(*id).map_or_else(String::new, |relation| relation.title()),
            Object::Schema(name) => format!("schema \"{name}\""),
            Object::Database => "database \"millstream\"".to_string(),
            Object::Secret(name) => format!("secret \"{name}\""),
        }
    }

    /// Whether `identity` may do `privilege` with `object`.
    pub fn allows(&self, identity: &Identity, object: &Object, privilege: Privilege) -> bool {
        if identity.superuser {
            return true;
        }
        match object {
            Object::Relation(id) => match self.by_id(*id) {
                Some(relation) if relation.kind == RelationKind::System => {
                    privilege == Privilege::Select && !CLOSED.contains(&relation.name.as_str())
                }
                Some(_) | None => self.allows_by_rights(identity, object, privilege),
            },
            // The schemas that are always there hold what everyone may look at.
            Object::Schema(name) if !self.is_users(name) => privilege == Privilege::Usage,
            Object::Schema(_) | Object::Database | Object::Secret(_) => {
                self.allows_by_rights(identity, object, privilege)
            }
        }
    }

    fn allows_by_rights(&self, identity: &Identity, object: &Object, privilege: Privilege) -> bool {
        let found = self.rights(object);
        found.is_some_and(|(rights, class, public)| rights.allow(class, public, identity, privilege, false))
    }

    /// Fails with 42501 unless `identity` may do `privilege` with `object`.
    pub fn permit(&self, identity: &Identity, object: &Object, privilege: Privilege) -> Result<()> {
        if self.allows(identity, object, privilege) {
            return Ok(());
        }
        let (title, word) = (self.object_title(object), privilege.word());
        let on = match object {
            Object::Relation(_) => title.split_once("\"").map_or(title.clone(), |(_, name)| name.replace('"', "")),
            Object::Schema(_) | Object::Database | Object::Secret(_) => title.replace('"', ""),
        };
        Err(Error::invalid(format!("permission denied for {title}"))
            .with_code(sqlstate::INSUFFICIENT_PRIVILEGE)
            .with_detail(format!("Role \"{}\" has no privilege {word} on it.", identity.name))
            .with_hint(format!("Its owner can GRANT {word} ON {on} TO {}.", identity.name)))
    }

    /// Fails with 42501 unless `object` belongs to `identity`.
    pub fn permit_owner(&self, identity: &Identity, object: &Object) -> Result<()> {
        let owner = self.rights(object).map(|(rights, ..)| rights.owner).unwrap_or_default();
        if identity.is(&owner) {
            return Ok(());
        }
        Err(Error::invalid(format!("must be owner of {}", self.object_title(object)))
            .with_code(sqlstate::INSUFFICIENT_PRIVILEGE)
            .with_detail(format!("It belongs to role \"{owner}\"."))
            .with_hint(format!("Connect as \"{owner}\", or as a superuser.")))
    }
}

/// The class of a relation.
pub(super) fn class_of(kind: RelationKind) -> ObjectClass {
    match kind {
        RelationKind::Function => ObjectClass::Function,
        RelationKind::Source
        | RelationKind::Table
        | RelationKind::View
        | RelationKind::MaterializedView
        | RelationKind::Sink
        | RelationKind::Late(_)
        | RelationKind::Faults(_)
        | RelationKind::Index(_)
        | RelationKind::System => ObjectClass::Relation,
    }
}
