//! What is said about roles, rights and secrets.

use super::{Name, ObjectKind, SecretStatement};
use crate::catalog::{Privilege, RoleOptions};

/// A statement about roles, rights and secrets.
#[derive(Clone, Debug)]
pub enum AccessStatement {
    /// `CREATE ROLE | USER | GROUP`.
    CreateRole(CreateRole),
    /// `ALTER ROLE | USER | GROUP`.
    AlterRole {
        /// Which.
        role: RoleName,
        /// What changes.
        options: RoleOptions,
    },
    /// `DROP ROLE | USER | GROUP`.
    DropRole {
        /// Which.
        names: Vec<Name>,
        /// `IF EXISTS`.
        if_exists: bool,
    },
    /// `GRANT role TO role`, `REVOKE role FROM role`.
    Membership(GrantRole),
    /// `GRANT ... ON`, `REVOKE ... ON`.
    Grant(GrantRights),
    /// `ALTER ... OWNER TO`.
    Owner {
        /// Of what.
        object: ObjectName,
        /// The new owner.
        role: RoleName,
    },
    /// About secrets.
    Secret(SecretStatement),
}

/// `GRANT privileges ON objects TO roles`, `REVOKE privileges ON objects FROM roles`.
#[derive(Clone, Debug)]
pub struct GrantRights {
    /// Whether privileges are taken back.
    pub revoke: bool,
    /// Which, with where they stand; none: all of the object's kind.
    pub privileges: Option<Vec<(Privilege, usize)>>,
    /// On what.
    pub objects: Vec<ObjectName>,
    /// To or from whom.
    pub roles: Vec<RoleName>,
    /// `WITH GRANT OPTION`, `GRANT OPTION FOR`.
    pub option: bool,
    /// `CASCADE`.
    pub cascade: bool,
}

/// Something that belongs to someone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectName {
    /// A relation or function; without a kind any relation.
    Relation(Option<ObjectKind>, Name),
    /// `ALL TABLES IN SCHEMA`: every relation of a schema.
    RelationsIn(Name),
    /// `ALL FUNCTIONS IN SCHEMA`.
    FunctionsIn(Name),
    /// A schema.
    Schema(Name),
    /// The database.
    Database(Name),
    /// A secret.
    Secret(Name),
}

/// `CREATE ROLE name [options]`.
#[derive(Clone, Debug)]
pub struct CreateRole {
    /// Its name.
    pub name: Name,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// What it may.
    pub options: RoleOptions,
    /// `IN ROLE`: the roles of which it becomes a member.
    pub member_of: Vec<Name>,
    /// `ROLE`: who becomes a member of it.
    pub members: Vec<Name>,
}

/// `GRANT role, ... TO role, ...`, `REVOKE role, ... FROM role, ...`.
#[derive(Clone, Debug)]
pub struct GrantRole {
    /// Whether memberships are taken away.
    pub revoke: bool,
    /// The roles that get or lose members.
    pub roles: Vec<Name>,
    /// The members.
    pub members: Vec<RoleName>,
    /// `WITH ADMIN OPTION`, `ADMIN OPTION FOR`.
    pub admin: bool,
}

/// A role as statements name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleName {
    /// By its name.
    Named(Name),
    /// `CURRENT_USER`, `CURRENT_ROLE`.
    CurrentUser,
    /// `SESSION_USER`.
    SessionUser,
    /// `PUBLIC`: everyone.
    Public {
        /// Where it stands.
        position: usize,
    },
}

impl AccessStatement {
    /// The command tag.
    pub fn tag(&self) -> &'static str {
        match self {
            AccessStatement::CreateRole(_) => "CREATE ROLE",
            AccessStatement::AlterRole { .. } => "ALTER ROLE",
            AccessStatement::DropRole { .. } => "DROP ROLE",
            AccessStatement::Grant(GrantRights { revoke: false, .. }) => "GRANT",
            AccessStatement::Grant(GrantRights { revoke: true, .. }) => "REVOKE",
            AccessStatement::Owner { object, .. } => match object {
                ObjectName::Relation(Some(ObjectKind::Source), _) => "ALTER SOURCE",
                ObjectName::Relation(Some(ObjectKind::View), _) => "ALTER VIEW",
                ObjectName::Relation(Some(ObjectKind::MaterializedView), _) => "ALTER MATERIALIZED VIEW",
                ObjectName::Relation(Some(ObjectKind::Sink), _) => "ALTER SINK",
                ObjectName::Relation(Some(ObjectKind::Index), _) => "ALTER INDEX",
                ObjectName::Relation(Some(ObjectKind::Function), _) => "ALTER FUNCTION",
                ObjectName::Schema(_) => "ALTER SCHEMA",
                ObjectName::Database(_) => "ALTER DATABASE",
                ObjectName::Secret(_) => "ALTER SECRET",
                ObjectName::Relation(..) | ObjectName::RelationsIn(_) | ObjectName::FunctionsIn(_) => "ALTER TABLE",
            },
            AccessStatement::Secret(secret) => secret.tag(),
            AccessStatement::Membership(GrantRole { revoke: false, .. }) => "GRANT ROLE",
            AccessStatement::Membership(GrantRole { revoke: true, .. }) => "REVOKE ROLE",
        }
    }
}
