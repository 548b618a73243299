//! Roles: CREATE, ALTER, DROP ROLE and memberships; as whom this session's statements run.

use crate::base::{Error, Result, SessionSettings, sqlstate};
use crate::catalog::{Access, AccessChange, Identity, RoleOptions};
use crate::sql::{AccessStatement, CreateRole, GrantRole, Name, RoleName};

use super::super::api::{Notice, Outcome};
use super::super::ddl::Ddl;
use super::Work;

/// The value of setting `role` that says: as oneself.
const NONE: &str = "none";

/// As whom statements run under `settings`: the user, or the role that SET ROLE names. `trusted` is a user who connected
/// while no passwords were asked for, under a name that no role has.
pub(super) fn identity(access: &Access, settings: &SessionSettings, trusted: bool) -> Result<Identity> {
    let show = |name: &str| settings.show(name).map_or("", |(_, value)| value);
    let (user, role) = (show("session_authorization"), show("role"));
    let own = match access.identity(user) {
        Some(identity) => identity,
        None if trusted => Identity::trusted(user),
        None => {
            return Err(Error::invalid(format!("role \"{user}\" does not exist any more"))
                .with_code(sqlstate::INVALID_AUTHORIZATION)
                .with_hint("Connect as a role that does."));
        }
    };
    if role == NONE || role == user {
        return Ok(own);
    }
    let found = access.require_role(role)?;
    if !own.superuser && !access.is_member(user, role) {
        return Err(denied(format!("permission denied to set role \"{role}\""))
            .with_hint(format!("A superuser can GRANT {role} TO {user}.")));
    }
    access.identity(&found.name).ok_or_else(|| Error::internal("a role is there and is not"))
}

/// An error 42501.
pub(super) fn denied(message: String) -> Error {
    Error::invalid(message).with_code(sqlstate::INSUFFICIENT_PRIVILEGE)
}

impl Work<'_> {
    /// Who is connected.
    pub(super) fn user(&self) -> &str {
        self.settings.show("session_authorization").map_or("", |(_, value)| value)
    }

    /// A statement about roles, rights and secrets.
    pub(super) async fn access(&mut self, statement: &AccessStatement) -> Result<Outcome> {
        let tag = statement.tag();
        self.ddl_in_block(tag, &[])?;
        let changes = match statement {
            AccessStatement::Secret(statement) => {
                self.secret(statement).await?;
                return Ok(self.done(tag));
            }
            AccessStatement::CreateRole(create) => self.create_role(create)?,
            AccessStatement::AlterRole { role, options } => vec![self.alter_role(role, options)?],
            AccessStatement::DropRole { names, if_exists } => self.drop_roles(names, *if_exists)?,
            AccessStatement::Membership(grant) => self.membership(grant)?,
            AccessStatement::Grant(grant) => self.grant_rights(grant)?,
            AccessStatement::Owner { object, role } => self.give(object, role)?,
        };
        self.change_access(changes).await?;
        Ok(self.done(tag))
    }

    /// Makes changes of roles and rights together.
    async fn change_access(&mut self, changes: Vec<AccessChange>) -> Result<()> {
        let mut changes: Vec<Ddl> = changes.into_iter().map(Ddl::Access).collect();
        match (changes.pop(), changes.is_empty()) {
            (None, _) => Ok(()),
            (Some(only), true) => self.make(only).await,
            (Some(last), false) => {
                changes.push(last);
                self.make(Ddl::Together(changes)).await
            }
        }
    }

    fn create_role(&mut self, create: &CreateRole) -> Result<Vec<AccessChange>> {
        let (identity, catalog) = (self.identity.clone(), self.catalog());
        if !identity.create_role {
            return Err(denied("permission denied to create role".into())
                .with_detail("Only roles with the CREATEROLE attribute may create roles.")
                .at(create.name.position));
        }
        may_give(&identity, &create.options)?;
        let name = create.name.name.clone();
        if create.if_not_exists && catalog.access().role(&name).is_some() {
            self.notices.push(Notice::new(format!("role \"{name}\" already exists, skipping")));
            return Ok(Vec::new());
        }
        let grantor = identity.owner.clone();
        let member = |role: &str, member: &str, admin: bool| AccessChange::GrantRole {
            role: role.to_string(),
            member: member.to_string(),
            admin,
            grantor: grantor.clone(),
        };
        let mut changes = vec![AccessChange::CreateRole { name: name.clone(), options: create.options.clone() }];
        // As PostgreSQL 16: who makes a role without being a superuser may dispose of it.
        if !identity.superuser {
            changes.push(member(&name, &identity.name, true));
        }
        for role in &create.member_of {
            self.may_admin(&identity, role)?;
            changes.push(member(&role.name, &name, false));
        }
        changes.extend(create.members.iter().map(|one| member(&name, &one.name, false)));
        Ok(changes)
    }

    fn alter_role(&self, role: &RoleName, options: &RoleOptions) -> Result<AccessChange> {
        let (identity, catalog) = (self.identity.clone(), self.catalog());
        let (name, position) = self.role_named(role)?;
        let found = catalog.access().require_role(&name).map_err(|error| error.at(position))?;
        let own_password = name == identity.name && options.is_password_alone();
        let may = identity.superuser
            || own_password
            || identity.create_role && !found.superuser && catalog.access().may_admin(&identity, &name);
        if !may {
            return Err(denied("permission denied to alter role".into())
                .with_detail(format!(
                    "Only roles with the CREATEROLE attribute and the ADMIN option on role \"{name}\" may alter it."
                ))
                .at(position));
        }
        may_give(&identity, options)?;
        Ok(AccessChange::AlterRole { name, options: options.clone() })
    }

    fn drop_roles(&mut self, names: &[Name], if_exists: bool) -> Result<Vec<AccessChange>> {
        let (identity, catalog) = (self.identity.clone(), self.catalog());
        let mut changes = Vec::new();
        for name in names {
            let found = match catalog.access().require_role(&name.name) {
                Ok(found) => found,
                Err(_) if if_exists => {
                    self.notices.push(Notice::new(format!("role \"{}\" does not exist, skipping", name.name)));
                    continue;
                }
                Err(error) => return Err(error.at(name.position)),
            };
            let disposes = identity.create_role && catalog.access().may_admin(&identity, &name.name);
            if !identity.superuser && (!disposes || found.superuser) {
                return Err(denied("permission denied to drop role".into())
                    .with_detail(format!(
                        "Only roles with the CREATEROLE attribute and the ADMIN option on role \"{}\" may drop it.",
                        name.name
                    ))
                    .at(name.position));
            }
            if identity.name == name.name || self.user() == name.name {
                return Err(Error::invalid("current user cannot be dropped")
                    .with_code(sqlstate::OBJECT_IN_USE)
                    .at(name.position));
            }
            changes.push(AccessChange::DropRole(name.name.clone()));
        }
        Ok(changes)
    }

    fn membership(&mut self, grant: &GrantRole) -> Result<Vec<AccessChange>> {
        let identity = self.identity.clone();
        let mut changes = Vec::new();
        for role in &grant.roles {
            self.may_admin(&identity, role)?;
            for member in &grant.members {
                if let RoleName::Public { position } = member {
                    return Err(Error::invalid("PUBLIC is a member of no role")
                        .with_code(sqlstate::UNDEFINED_OBJECT)
                        .with_hint("Name roles, or grant the rights themselves to PUBLIC.")
                        .at(*position));
                }
                let (member, position) = self.role_named(member)?;
                self.catalog().access().require_role(&member).map_err(|error| error.at(position))?;
                let role = role.name.clone();
                changes.push(match grant.revoke {
                    true => AccessChange::RevokeRole { role, member, admin_only: grant.admin },
                    false => {
                        let grantor = identity.owner.clone();
                        AccessChange::GrantRole { role, member, admin: grant.admin, grantor }
                    }
                });
            }
        }
        Ok(changes)
    }

    /// Fails unless `identity` may make others members of `role`.
    fn may_admin(&self, identity: &Identity, role: &Name) -> Result<()> {
        let catalog = self.catalog();
        let found = catalog.access().require_role(&role.name).map_err(|error| error.at(role.position))?;
        if identity.superuser || !found.superuser && catalog.access().may_admin(identity, &role.name) {
            return Ok(());
        }
        Err(denied(format!("permission denied to grant role \"{}\"", role.name))
            .with_detail(format!("Only roles with the ADMIN option on role \"{}\" may grant it.", role.name))
            .at(role.position))
    }

    /// The role that `name` means, and where it stands.
    pub(super) fn role_named(&self, name: &RoleName) -> Result<(String, usize)> {
        match name {
            RoleName::Named(name) => Ok((name.name.clone(), name.position)),
            RoleName::CurrentUser => Ok((self.identity.owner.clone(), 0)),
            RoleName::SessionUser => Ok((self.user().to_string(), 0)),
            RoleName::Public { position } => Err(Error::invalid("PUBLIC is everyone, not a role")
                .with_code(sqlstate::UNDEFINED_OBJECT)
                .with_hint("Name a role.")
                .at(*position)),
        }
    }
}

/// Nobody gives what only a superuser has.
fn may_give(identity: &Identity, options: &RoleOptions) -> Result<()> {
    if identity.superuser || options.superuser != Some(true) {
        return Ok(());
    }
    Err(denied("permission denied to make a superuser".into())
        .with_detail("Only roles with the SUPERUSER attribute may give the SUPERUSER attribute."))
}
