//! Roles: what they may, whose members they are, and as whom a statement runs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Access;
use crate::base::{Error, Result, did_you_mean, sqlstate};
use crate::catalog::postgres::OWNER;

/// A role: someone who connects, or a group of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Role {
    /// Its name; never changed.
    pub name: String,
    /// Whether nothing is refused to it.
    pub superuser: bool,
    /// Whether it has the rights of the roles that it is a member of.
    pub inherit: bool,
    /// Whether clients may connect as it.
    pub login: bool,
    /// Whether it may make roles.
    pub create_role: bool,
    /// `CREATEDB`: kept and shown; there is one database.
    pub create_db: bool,
    /// What is kept of its password: the text of a [`Verifier`](crate::base::scram::Verifier).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifier: Option<String>,
    /// How many connections it may have at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections_max: Option<u32>,
    /// After this moment (microseconds since 1970) its password is no longer taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until_us: Option<i64>,
    /// The roles that it is a member of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub member_of: BTreeMap<String, Membership>,
}

/// How a role is a member of another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Membership {
    /// Whether it may make others members.
    pub admin: bool,
    /// Who made it one.
    pub grantor: String,
}

/// What CREATE ROLE and ALTER ROLE say of a role; what is not said stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoleOptions {
    /// `[NO]SUPERUSER`.
    pub superuser: Option<bool>,
    /// `[NO]INHERIT`.
    pub inherit: Option<bool>,
    /// `[NO]LOGIN`.
    pub login: Option<bool>,
    /// `[NO]CREATEROLE`.
    pub create_role: Option<bool>,
    /// `[NO]CREATEDB`.
    pub create_db: Option<bool>,
    /// `PASSWORD 'x' | NULL`, as a verifier.
    pub verifier: Option<Option<String>>,
    /// `CONNECTION LIMIT n`; -1 is none.
    pub connections_max: Option<Option<u32>>,
    /// `VALID UNTIL`; infinity is none.
    pub valid_until_us: Option<Option<i64>>,
}

impl RoleOptions {
    /// Whether nothing but the password is said.
    pub fn is_password_alone(&self) -> bool {
        self.verifier.is_some() && RoleOptions { verifier: None, ..self.clone() } == RoleOptions::default()
    }
}

impl Role {
    /// A role as CREATE ROLE makes it when nothing else is said.
    pub fn new(name: &str) -> Role {
        Role {
            name: name.to_string(),
            superuser: false,
            inherit: true,
            login: false,
            create_role: false,
            create_db: false,
            verifier: None,
            connections_max: None,
            valid_until_us: None,
            member_of: BTreeMap::new(),
        }
    }

    /// The role that every data directory begins with.
    pub(super) fn first() -> Role {
        Role { superuser: true, login: true, create_role: true, create_db: true, ..Role::new(OWNER.1) }
    }

    pub(super) fn set(&mut self, options: &RoleOptions) {
        let flags = [
            (&mut self.superuser, options.superuser),
            (&mut self.inherit, options.inherit),
            (&mut self.login, options.login),
            (&mut self.create_role, options.create_role),
            (&mut self.create_db, options.create_db),
        ];
        for (flag, said) in flags {
            *flag = said.unwrap_or(*flag);
        }
        if let Some(verifier) = &options.verifier {
            self.verifier.clone_from(verifier);
        }
        self.connections_max = options.connections_max.unwrap_or(self.connections_max);
        self.valid_until_us = options.valid_until_us.unwrap_or(self.valid_until_us);
    }
}

/// As whom a statement runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// `current_user`.
    pub name: String,
    /// The role that owns what it makes.
    pub owner: String,
    /// Whether nothing is refused.
    pub superuser: bool,
    /// Whether it may make roles.
    pub create_role: bool,
    /// The roles whose rights it has: its own, and those that it inherits.
    pub roles: BTreeSet<String>,
}

impl Identity {
    /// Someone who connected while no role had a password, under a name that no role has: what it makes belongs to the
    /// first role.
    pub fn trusted(name: &str) -> Identity {
        Identity {
            name: name.to_string(),
            owner: OWNER.1.to_string(),
            superuser: true,
            create_role: true,
            roles: BTreeSet::from([OWNER.1.to_string()]),
        }
    }

    /// Whether it has the rights of `role`.
    pub fn is(&self, role: &str) -> bool {
        self.superuser || self.roles.contains(role)
    }
}

impl Access {
    /// The identity of the role called `name`.
    pub fn identity(&self, name: &str) -> Option<Identity> {
        let role = self.role(name)?;
        Some(Identity {
            name: name.to_string(),
            owner: name.to_string(),
            superuser: role.superuser,
            create_role: role.create_role || role.superuser,
            roles: self.closure(name, |role| role.inherit),
        })
    }

    /// Whether `name` is `role` or a member of it, over any number of roles.
    pub fn is_member(&self, name: &str, role: &str) -> bool {
        self.closure(name, |_| true).contains(role)
    }

    /// Whether a member of `role` under `identity` may make others members of it.
    pub fn may_admin(&self, identity: &Identity, role: &str) -> bool {
        let admin = |name: &String| {
            self.role(name).and_then(|own| own.member_of.get(role)).is_some_and(|membership| membership.admin)
        };
        identity.superuser || identity.roles.iter().any(admin)
    }

    /// `name` and the roles above it that are reached through roles for which `goes_on` holds.
    fn closure(&self, name: &str, goes_on: impl Fn(&Role) -> bool) -> BTreeSet<String> {
        let (mut found, mut open) = (BTreeSet::new(), vec![name]);
        while let Some(name) = open.pop() {
            if !found.insert(name.to_string()) {
                continue;
            }
            if let Some(role) = self.role(name).filter(|role| goes_on(role)) {
                open.extend(role.member_of.keys().map(String::as_str));
            }
        }
        found
    }

    /// The role called `name`; fails with 42704 and the nearest name there is.
    pub fn require_role(&self, name: &str) -> Result<&Role> {
        self.role(name).ok_or_else(|| {
            let error = Error::invalid(format!("role \"{name}\" does not exist")).with_code(sqlstate::UNDEFINED_OBJECT);
            let near = did_you_mean(name, self.roles.keys().map(String::as_str));
            error.with_hint(near.unwrap_or_else(|| format!("CREATE ROLE {name} makes it.")))
        })
    }
}
