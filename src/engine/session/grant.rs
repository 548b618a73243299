//! GRANT and REVOKE of privileges, ALTER ... OWNER TO.

use std::collections::BTreeSet;

use crate::base::{Error, Result, sqlstate};
use crate::catalog::{AccessChange, Catalog, Grant, Object, ObjectClass, Privilege, RelationKind};
use crate::sql::{GrantRights, Name, ObjectName, RoleName};

use super::super::api::Notice;
use super::Work;
use super::access::denied;
use super::show::{is_kind, named};

impl Work<'_> {
    /// GRANT and REVOKE.
    pub(super) fn grant_rights(&mut self, statement: &GrantRights) -> Result<Vec<AccessChange>> {
        let catalog = self.catalog();
        let mut grantees = Vec::new();
        for role in &statement.roles {
            grantees.push(match role {
                RoleName::Public { .. } => String::new(),
                named => {
                    let (name, position) = self.role_named(named)?;
                    catalog.access().require_role(&name).map_err(|error| error.at(position))?;
                    name
                }
            });
        }
        let mut changes = Vec::new();
        for name in &statement.objects {
            for object in objects(&catalog, name)? {
                let Some((grantor, privileges)) = self.may_grant(&catalog, &object, statement)? else { continue };
                let (option, cascade) = (statement.option, statement.cascade);
                let grant = Grant { privileges, grantees: grantees.clone(), grantor, option, cascade };
                changes.push(match statement.revoke {
                    true => AccessChange::Revoke { object, grant },
                    false => AccessChange::Grant { object, grant },
                });
            }
        }
        Ok(changes)
    }

    /// In whose name, and which of the privileges, this session may give or take back; none: nothing, with a notice.
    fn may_grant(
        &mut self,
        catalog: &Catalog,
        object: &Object,
        statement: &GrantRights,
    ) -> Result<Option<(String, BTreeSet<Privilege>)>> {
        let gone = || Error::conflict("the object was dropped meanwhile").with_hint("Send the statement again.");
        let (rights, class, public) = catalog.rights(object).ok_or_else(gone)?;
        let wanted = wanted(class, statement)?;
        if self.identity.is(&rights.owner) {
            return Ok(Some((rights.owner, wanted)));
        }
        let items = rights.items(class, public);
        let givers = items.iter().filter(|item| self.identity.roles.contains(&item.grantee));
        let most = givers.max_by_key(|item| item.grantable.intersection(&wanted).count());
        let mine: BTreeSet<Privilege> =
            most.map(|item| item.grantable.intersection(&wanted).copied().collect()).unwrap_or_default();
        let title = catalog.object_title(object);
        match most {
            Some(giver) if !mine.is_empty() => {
                if mine.len() < wanted.len() {
                    let word = if statement.revoke { "revoked" } else { "granted" };
                    self.notices.push(Notice::warning(format!("not all privileges were {word} for {title}")));
                }
                Ok(Some((giver.grantee.clone(), mine)))
            }
            Some(_) | None => Err(denied(format!("permission denied for {title}"))
                .with_detail(format!("Role \"{}\" may not give on what it may do with it.", self.identity.name))
                .with_hint("Its owner can, and whoever was given the privilege WITH GRANT OPTION.")),
        }
    }

    /// ALTER ... OWNER TO: by the owner, who must be a member of the new one, which may make such objects there.
    pub(super) fn give(&mut self, name: &ObjectName, role: &RoleName) -> Result<Vec<AccessChange>> {
        let catalog = self.catalog();
        let (role, position) = self.role_named(role)?;
        catalog.access().require_role(&role).map_err(|error| error.at(position))?;
        let mut changes = Vec::new();
        for object in objects(&catalog, name)? {
            catalog.permit_owner(&self.identity, &object)?;
            if !self.identity.superuser && !catalog.access().is_member(&self.identity.name, &role) {
                return Err(denied(format!("must be able to SET ROLE \"{role}\"")).at(position));
            }
            if let Object::Relation(id) = &object
                && let (Some(relation), Some(new)) = (catalog.by_id(*id), catalog.access().identity(&role))
                && !self.identity.superuser
            {
                catalog.permit(&new, &Object::Schema(relation.schema_name.clone()), Privilege::Create)?;
            }
            changes.push(AccessChange::Owner { object, role: role.clone() });
        }
        Ok(changes)
    }
}

/// The privileges that `statement` names, of a class of objects.
fn wanted(class: ObjectClass, statement: &GrantRights) -> Result<BTreeSet<Privilege>> {
    let known = class.privileges();
    let Some(named) = &statement.privileges else { return Ok(known.iter().copied().collect()) };
    if let Some((stray, position)) = named.iter().find(|(privilege, _)| !known.contains(privilege)) {
        let noun = match class {
            ObjectClass::Relation => "relation",
            ObjectClass::Function => "function",
            ObjectClass::Schema => "schema",
            ObjectClass::Database => "database",
            ObjectClass::Secret => "secret",
        };
        let words: Vec<&str> = known.iter().map(|privilege| privilege.word()).collect();
        return Err(Error::invalid(format!("invalid privilege type {} for {noun}", stray.word()))
            .with_code("0LP01")
            .with_hint(format!("There are {} and ALL.", words.join(", ")))
            .at(*position));
    }
    Ok(named.iter().map(|(privilege, _)| *privilege).collect())
}

/// What `name` means.
fn objects(catalog: &Catalog, name: &ObjectName) -> Result<Vec<Object>> {
    let within = |schema: &Name, functions: bool| {
        catalog.require_schema(&schema.name).map_err(|error| error.at(schema.position))?;
        let ours = catalog.relations().filter(|relation| {
            relation.schema_name == schema.name
                && relation.kind.owner().is_none()
                && (relation.kind == RelationKind::Function) == functions
        });
        Ok(ours.map(|relation| Object::Relation(relation.id)).collect())
    };
    match name {
        ObjectName::Relation(kind, name) => {
            let relation = named(catalog, *kind, name)?;
            if let Some(kind) = kind {
                is_kind(&relation, *kind).map_err(|error| error.at(name.position))?;
            }
            if relation.kind == RelationKind::System || relation.kind.owner().is_some() {
                return Err(Error::invalid(format!("{} has no rights of its own", relation.title()))
                    .with_code(sqlstate::WRONG_OBJECT_TYPE)
                    .with_hint(
                        "System views are open to everyone; late rows, faults and indexes go with their relation.",
                    )
                    .at(name.position));
            }
            Ok(vec![Object::Relation(relation.id)])
        }
        ObjectName::RelationsIn(schema) => within(schema, false),
        ObjectName::FunctionsIn(schema) => within(schema, true),
        ObjectName::Schema(schema) => {
            catalog.require_schema(&schema.name).map_err(|error| error.at(schema.position))?;
            Ok(vec![Object::Schema(schema.name.clone())])
        }
        ObjectName::Secret(secret) => {
            catalog.require_secret(&secret.name).map_err(|error| error.at(secret.position))?;
            Ok(vec![Object::Secret(secret.name.clone())])
        }
        ObjectName::Database(database) if database.name == crate::sql::DATABASE => Ok(vec![Object::Database]),
        ObjectName::Database(database) => Err(Error::invalid(format!("database \"{}\" does not exist", database.name))
            .with_code(sqlstate::INVALID_CATALOG_NAME)
            .with_hint(format!("There is one database, {}.", crate::sql::DATABASE))
            .at(database.position)),
    }
}
