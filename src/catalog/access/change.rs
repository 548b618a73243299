//! Changes of roles and rights, as the epoch log keeps them.

use serde::{Deserialize, Serialize};

use std::sync::Arc;

use super::{Access, Grant, Membership, Object, ObjectClass, Rights, Role, RoleOptions};
use crate::base::{Error, Result, sqlstate};
use crate::catalog::catalog::Catalog;
use crate::catalog::postgres::OWNER;
use crate::catalog::relation::Relation;

/// Names that mean something else where a role is named.
const RESERVED: [&str; 6] = ["public", "none", "current_user", "current_role", "session_user", "user"];

/// One change of roles and rights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessChange {
    /// CREATE ROLE.
    CreateRole {
        /// Its name.
        name: String,
        /// What it may.
        options: RoleOptions,
    },
    /// ALTER ROLE.
    AlterRole {
        /// Which.
        name: String,
        /// What changes.
        options: RoleOptions,
    },
    /// DROP ROLE.
    DropRole(String),
    /// GRANT role TO role.
    GrantRole {
        /// The role that gets a member.
        role: String,
        /// Who becomes one.
        member: String,
        /// Whether it may make others members.
        admin: bool,
        /// Who says so.
        grantor: String,
    },
    /// REVOKE role FROM role.
    RevokeRole {
        /// The role that loses a member.
        role: String,
        /// Who is none any more.
        member: String,
        /// Only the right to make others members is taken.
        admin_only: bool,
    },
    /// GRANT privileges ON object.
    Grant {
        /// On what.
        object: Object,
        /// What, and to whom.
        grant: Grant,
    },
    /// REVOKE privileges ON object.
    Revoke {
        /// On what.
        object: Object,
        /// What, and from whom.
        grant: Grant,
    },
    /// ALTER ... OWNER TO.
    Owner {
        /// Of what.
        object: Object,
        /// The new owner.
        role: String,
    },
}

impl Catalog {
    /// Changes roles and rights; on an error nothing is changed.
    pub fn change_access(&mut self, change: &AccessChange) -> Result<()> {
        match change {
            AccessChange::Grant { object, grant } => {
                self.require_roles(grant)?;
                self.change_rights(object, |rights, class, public| rights.grant(class, public, grant))
            }
            AccessChange::Revoke { object, grant } => {
                self.require_roles(grant)?;
                self.change_rights(object, |rights, class, public| rights.revoke(class, public, grant))
            }
            AccessChange::Owner { object, role } => {
                self.access.require_role(role)?;
                self.change_rights(object, |rights, _, _| {
                    rights.give(role);
                    Ok(())
                })
            }
            AccessChange::DropRole(name) => {
                self.require_unused(name)?;
                Arc::make_mut(&mut self.access).apply(change)
            }
            AccessChange::CreateRole { .. }
            | AccessChange::AlterRole { .. }
            | AccessChange::GrantRole { .. }
            | AccessChange::RevokeRole { .. } => Arc::make_mut(&mut self.access).apply(change),
        }
    }

    fn require_roles(&self, grant: &Grant) -> Result<()> {
        let mut named = grant.grantees.iter().filter(|name| !name.is_empty());
        named.try_for_each(|name| self.access.require_role(name).map(drop))
    }

    fn change_rights(
        &mut self,
        object: &Object,
        change: impl FnOnce(&mut Rights, ObjectClass, bool) -> Result<()>,
    ) -> Result<()> {
        let gone = || Error::conflict("the object was dropped meanwhile").with_hint("Send the statement again.");
        let (mut rights, class, public) = self.rights(object).ok_or_else(gone)?;
        change(&mut rights, class, public)?;
        match object {
            Object::Relation(id) => {
                let old = self.relations.get(id).ok_or_else(gone)?;
                let relation = Arc::new(Relation { rights, ..Relation::clone(old) });
                Arc::make_mut(&mut self.relations).insert(*id, relation);
            }
            Object::Schema(name) => drop(Arc::make_mut(&mut self.access).schemas.insert(name.clone(), rights)),
            Object::Database => Arc::make_mut(&mut self.access).database = rights,
            Object::Secret(name) => {
                let secret = Arc::make_mut(&mut self.access).secrets.get_mut(name).ok_or_else(gone)?;
                secret.rights = rights;
            }
        }
        Ok(())
    }

    /// Fails with 2BP01 when objects belong to the role, or something on them was granted to it or by it.
    fn require_unused(&self, name: &str) -> Result<()> {
        let relations = self.relations.values().filter(|relation| relation.rights.name(name)).map(|r| r.title());
        let schemas = self.access.schemas.iter().filter(|(_, rights)| rights.name(name));
        let mut uses: Vec<String> = relations.collect();
        uses.extend(schemas.map(|(schema, _)| format!("schema \"{schema}\"")));
        let secrets = self.access.secrets.iter().filter(|(_, entry)| entry.rights.name(name));
        uses.extend(secrets.map(|(secret, _)| format!("secret \"{secret}\"")));
        uses.extend(self.access.database.name(name).then(|| "the database".to_string()));
        if name == OWNER.1 || uses.is_empty() {
            return Ok(());
        }
        Err(Error::invalid(format!("role \"{name}\" cannot be dropped because some objects depend on it"))
            .with_code(sqlstate::DEPENDENT_OBJECTS_EXIST)
            .with_detail(format!("It owns, or has privileges on: {}.", uses.join(", ")))
            .with_hint("Give them away with ALTER ... OWNER TO, and REVOKE its privileges."))
    }
}

impl Access {
    /// Makes `change`; on an error nothing is changed.
    fn apply(&mut self, change: &AccessChange) -> Result<()> {
        match change {
            AccessChange::CreateRole { name, options } => self.create_role(name, options),
            AccessChange::AlterRole { name, options } => self.alter_role(name, options),
            AccessChange::DropRole(name) => self.drop_role(name),
            AccessChange::GrantRole { role, member, admin, grantor } => self.grant_role(role, member, *admin, grantor),
            AccessChange::RevokeRole { role, member, admin_only } => self.revoke_role(role, member, *admin_only),
            // On objects, which only the catalog knows.
            AccessChange::Grant { .. } | AccessChange::Revoke { .. } | AccessChange::Owner { .. } => Ok(()),
        }
    }

    fn create_role(&mut self, name: &str, options: &RoleOptions) -> Result<()> {
        if RESERVED.contains(&name) || name.starts_with("pg_") || name.is_empty() || name.len() > 63 {
            return Err(Error::invalid(format!("role name \"{name}\" is reserved"))
                .with_code("42939")
                .with_hint("Choose a name of 1 to 63 bytes that does not begin with pg_."));
        }
        if self.roles.contains_key(name) {
            return Err(Error::invalid(format!("role \"{name}\" already exists"))
                .with_code(sqlstate::DUPLICATE_OBJECT)
                .with_hint("Choose another name, or ALTER ROLE it."));
        }
        let mut role = Role::new(name);
        role.set(options);
        let mut changed = self.clone();
        changed.roles.insert(name.to_string(), role);
        changed.settle(self)
    }

    fn alter_role(&mut self, name: &str, options: &RoleOptions) -> Result<()> {
        self.require_role(name)?;
        if name == OWNER.1 && (options.superuser == Some(false) || options.login == Some(false)) {
            return Err(Error::invalid(format!("role \"{name}\" stays a superuser that may log in"))
                .with_code(sqlstate::OBJECT_IN_USE)
                .with_detail("It owns the database, and is the way back in.")
                .with_hint("Give it a password that nobody knows."));
        }
        let mut changed = self.clone();
        if let Some(role) = changed.roles.get_mut(name) {
            role.set(options);
        }
        changed.settle(self)
    }

    /// Puts itself in the place of `old`, unless that would lock everyone out: where passwords are asked for, one of
    /// those who have one is a superuser.
    fn settle(self, old: &mut Access) -> Result<()> {
        let way_in = |role: &Role| role.superuser && role.login && role.verifier.is_some();
        if self.asks_passwords() && !self.roles.values().any(way_in) {
            return Err(Error::invalid("no superuser would have a password")
                .with_code(sqlstate::OBJECT_IN_USE)
                .with_detail("As soon as one role has a password every client must give one.")
                .with_hint(format!("First ALTER ROLE {} PASSWORD '...'.", OWNER.1)));
        }
        *old = self;
        Ok(())
    }

    fn drop_role(&mut self, name: &str) -> Result<()> {
        self.require_role(name)?;
        if name == OWNER.1 {
            return Err(Error::invalid(format!("role \"{name}\" cannot be dropped"))
                .with_code(sqlstate::OBJECT_IN_USE)
                .with_hint("It is always there."));
        }
        let mut changed = self.clone();
        changed.roles.remove(name);
        for role in changed.roles.values_mut() {
            role.member_of.remove(name);
            // What it has granted goes on in the name of the first role.
            for membership in role.member_of.values_mut().filter(|membership| membership.grantor == name) {
                membership.grantor = OWNER.1.to_string();
            }
        }
        changed.settle(self)
    }

    fn grant_role(&mut self, role: &str, member: &str, admin: bool, grantor: &str) -> Result<()> {
        self.require_role(role)?;
        self.require_role(member)?;
        if self.is_member(role, member) {
            return Err(Error::invalid(format!("role \"{role}\" is a member of role \"{member}\""))
                .with_code("0LP01")
                .with_hint("Revoke that membership first."));
        }
        if let Some(member) = self.roles.get_mut(member) {
            let new = Membership { admin, grantor: grantor.to_string() };
            let membership = member.member_of.entry(role.to_string()).or_insert(new);
            membership.admin |= admin;
        }
        Ok(())
    }

    fn revoke_role(&mut self, role: &str, member: &str, admin_only: bool) -> Result<()> {
        self.require_role(role)?;
        self.require_role(member)?;
        let Some(found) = self.roles.get_mut(member) else { return Ok(()) };
        match found.member_of.get_mut(role) {
            Some(membership) if admin_only => membership.admin = false,
            _ => drop(found.member_of.remove(role)),
        }
        Ok(())
    }
}
