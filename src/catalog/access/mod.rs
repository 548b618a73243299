//! Who there is and who may do what: roles with their memberships, owners of objects, what they have granted, and secrets.
//!
//! Plain data like the rest of the catalog: a change is an [`AccessChange`] in the epoch log, the whole lies in every
//! manifest. Who may make which change is for the engine's sessions to say; here it is only checked that it fits.

mod change;
mod privilege;
mod rights;
mod role;
mod secret;

pub use change::AccessChange;
pub use privilege::{AclItem, Grant, ObjectClass, Privilege, Rights};
pub use rights::Object;
pub use role::{Identity, Membership, Role, RoleOptions};
pub use secret::{SecretChange, SecretEntry};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::postgres::OWNER;

/// Roles and rights of the whole database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Access {
    /// By name. The role of [`OWNER`] is always there and always a superuser.
    pub(super) roles: BTreeMap<String, Role>,
    /// Rights on schemas, where they are not those of a new data directory.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) schemas: BTreeMap<String, Rights>,
    /// Rights on the database.
    #[serde(default, skip_serializing_if = "Rights::is_default")]
    pub(super) database: Rights,
    /// Secrets by name, without their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) secrets: BTreeMap<String, SecretEntry>,
}

impl Default for Access {
    fn default() -> Access {
        let roles = BTreeMap::from([(OWNER.1.to_string(), Role::first())]);
        Access { roles, schemas: BTreeMap::new(), database: Rights::default(), secrets: BTreeMap::new() }
    }
}

impl Access {
    /// Whether nobody has changed anything yet.
    pub fn is_default(&self) -> bool {
        *self == Access::default()
    }

    /// All roles by name.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.values()
    }

    /// The role called `name`.
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.get(name)
    }

    /// Whether clients must prove who they are: as soon as one role has a password.
    pub fn asks_passwords(&self) -> bool {
        self.roles.values().any(|role| role.verifier.is_some())
    }

    /// Whether there are others than the first role.
    pub fn has_other_roles(&self) -> bool {
        self.roles.len() > 1
    }
}
