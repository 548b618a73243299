//! What is said about roles and rights.

use super::Name;
use crate::catalog::RoleOptions;

/// A statement about roles and rights.
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
            AccessStatement::Membership(GrantRole { revoke: false, .. }) => "GRANT ROLE",
            AccessStatement::Membership(GrantRole { revoke: true, .. }) => "REVOKE ROLE",
        }
    }
}
