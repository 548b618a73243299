//! `has_*_privilege` and `pg_has_role`: whether a role may do something, by the same rules by which statements are judged.

use super::super::names::{Reg, missing, role_name};
use super::super::table::Value;
use super::{Call, Entry, entry, flag};
use crate::base::{Error, Result, sqlstate};
use crate::catalog::postgres::{relation_of_oid, schema_oid};
use crate::catalog::{Identity, Object, ObjectClass, Privilege};

pub(super) const ENTRIES: &[Entry] = &[
    entry("has_table_privilege", (2, 3), flag, |call| on_relation(call, 1)),
    entry("has_any_column_privilege", (2, 3), flag, |call| on_relation(call, 1)),
    entry("has_column_privilege", (3, 4), flag, |call| on_relation(call, 2)),
    entry("has_schema_privilege", (2, 3), flag, on_schema),
    entry("has_database_privilege", (2, 3), flag, on_database),
    entry("has_function_privilege", (2, 3), flag, on_function),
    entry("has_sequence_privilege", (2, 3), flag, may),
    entry("has_language_privilege", (2, 3), flag, may),
    entry("has_type_privilege", (2, 3), flag, may),
    entry("has_tablespace_privilege", (2, 3), flag, may),
    entry("has_server_privilege", (2, 3), flag, may),
    entry("has_foreign_data_wrapper_privilege", (2, 3), flag, may),
    entry("has_parameter_privilege", (2, 3), flag, may),
    entry("pg_has_role", (2, 3), flag, has_role),
    entry("row_security_active", (1, 1), flag, |_| Ok(false.into())),
];

/// What everyone may.
fn may(_: &Call<'_>) -> Result<Value> {
    Ok(true.into())
}

/// Whose privileges are asked for: the role that comes first, if one is named; else who asks.
fn who(call: &Call<'_>, named: bool) -> Result<Identity> {
    if !named {
        return Ok(call.facts.identity.clone());
    }
    let name = match call.text(0) {
        Some("public") => return Ok(nobody()),
        Some(name) => name.to_string(),
        None => {
            let oid = call.oid(0, Reg::Role)?;
            role_name(oid, call.facts).unwrap_or_default().to_string()
        }
    };
    if name == call.facts.identity.name {
        return Ok(call.facts.identity.clone());
    }
    let known = call.facts.catalog.access().identity(&name);
    known.ok_or_else(|| Error::invalid(format!("role \"{name}\" does not exist")).with_code(sqlstate::UNDEFINED_OBJECT))
}

/// Who has only what everyone has.
fn nobody() -> Identity {
    Identity { superuser: false, create_role: false, roles: [String::new()].into(), ..Identity::trusted("public") }
}

/// Whether one of the privileges that `words` lists is there; each perhaps WITH GRANT OPTION.
fn any(call: &Call<'_>, identity: &Identity, object: &Object, class: ObjectClass, words: &str) -> Result<Value> {
    let catalog = &call.facts.catalog;
    let mut found = false;
    for word in words.split(',') {
        let word = word.trim().to_lowercase();
        let (bare, option) = match word.strip_suffix(" with grant option") {
            Some(bare) => (bare.trim(), true),
            None => (word.as_str(), false),
        };
        let privilege = Privilege::named(bare).filter(|privilege| class.privileges().contains(privilege));
        let Some(privilege) = privilege else {
            if class == ObjectClass::Relation && bare == "maintain" {
                found |= identity.superuser;
                continue;
            }
            return Err(Error::invalid(format!("unrecognized privilege type: \"{bare}\"")));
        };
        found |= match option {
            false => catalog.allows(identity, object, privilege),
            true => catalog
                .rights(object)
                .is_some_and(|(rights, class, public)| rights.allow(class, public, identity, privilege, true)),
        };
    }
    Ok(found.into())
}

/// A relation that is named must be there; one that is numbered and not there gives NULL. `behind` the relation so many
/// arguments follow.
fn on_relation(call: &Call<'_>, behind: usize) -> Result<Value> {
    let place = call.args.len() - 1 - behind;
    let words = call.text(call.args.len() - 1).unwrap_or_default();
    let identity = who(call, place > 0)?;
    let oid = call.oid(place, Reg::Class)?;
    match (relation_of_oid(&call.facts.catalog, oid), call.text(place)) {
        (Some(relation), _) => any(call, &identity, &Object::Relation(relation.id), ObjectClass::Relation, words),
        (None, Some(name)) if name.parse::<u32>().is_err() => Err(missing(Reg::Class, name)),
        (None, _) => Ok(Value::Null),
    }
}

fn on_schema(call: &Call<'_>) -> Result<Value> {
    let place = call.args.len() - 2;
    let identity = who(call, place > 0)?;
    let oid = call.oid(place, Reg::Namespace)?;
    let Some(name) = call.facts.catalog.schemas().find(|name| schema_oid(name) == oid) else { return Ok(Value::Null) };
    let words = call.text(place + 1).unwrap_or_default();
    any(call, &identity, &Object::Schema(name.to_string()), ObjectClass::Schema, words)
}

fn on_database(call: &Call<'_>) -> Result<Value> {
    let place = call.args.len() - 2;
    let identity = who(call, place > 0)?;
    any(call, &identity, &Object::Database, ObjectClass::Database, call.text(place + 1).unwrap_or_default())
}

/// Built-in functions are everyone's.
fn on_function(call: &Call<'_>) -> Result<Value> {
    let place = call.args.len() - 2;
    let identity = who(call, place > 0)?;
    let oid = match call.text(place) {
        Some(name) if name.parse::<u32>().is_err() => {
            let bare = name.rsplit_once('.').map_or(name, |(_, name)| name);
            let found = call.facts.catalog.resolve_function(None, bare);
            found.ok().map(|function| crate::catalog::postgres::relation_oid(&function))
        }
        _ => call.int(place).and_then(|oid| u32::try_from(oid).ok()),
    };
    match oid.and_then(|oid| relation_of_oid(&call.facts.catalog, oid)) {
        Some(function) => {
            let words = call.text(place + 1).unwrap_or_default();
            any(call, &identity, &Object::Relation(function.id), ObjectClass::Function, words)
        }
        None => Ok(true.into()),
    }
}

fn has_role(call: &Call<'_>) -> Result<Value> {
    let place = call.args.len() - 2;
    let identity = who(call, place > 0)?;
    let oid = call.oid(place, Reg::Role)?;
    let Some(role) = role_name(oid, call.facts) else { return Ok(Value::Null) };
    let words = call.text(place + 1).unwrap_or_default().to_lowercase();
    let access = call.facts.catalog.access();
    let has = words.split(',').any(|word| match word.trim() {
        "usage" => identity.is(role),
        word if word.contains("option") => access.may_admin(&identity, role),
        _ => identity.superuser || access.is_member(&identity.name, role),
    });
    Ok(has.into())
}
