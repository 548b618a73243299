//! Floor 3: names of relations, what they depend on, and system views.
//!
//! Everything here is plain data: the engine decides, makes it durable (a change in the epoch log, the whole in every
//! manifest) and starts jobs. A [`Catalog`] is cheap to clone, so a statement works on the catalog as it found it.

mod access;
#[expect(clippy::module_inception, reason = "the room is named after the one thing it keeps")]
mod catalog;
mod codec;
mod dependencies;
mod functions;
mod names;
pub mod postgres;
mod relation;
mod system;

#[cfg(test)]
mod tests;

pub use access::{
    Access, AccessChange, AclItem, Grant, Identity, Membership, Object, ObjectClass, Privilege, Rights, Role,
    RoleOptions, SecretChange, SecretEntry,
};
pub use catalog::Catalog;
pub use relation::{Relation, RelationKind, RelationWatermark, SCHEMAS, schemas};
pub use system::{SystemViewDefinition, system_view_definitions};
