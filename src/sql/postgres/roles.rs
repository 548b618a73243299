//! Rows about roles and their memberships.

use std::collections::BTreeMap;

use super::Facts;
use super::names::role;
use super::table::{Table, Value};
use crate::catalog::postgres::named_oid;
use crate::catalog::{Relation, Rights, Role};

/// What is shown in the place of a password.
const HIDDEN: &str = "********";

/// Adds the rows if `table` is one of these.
pub(super) fn fill(table: &mut Table, facts: &Facts) {
    match table.name() {
        "pg_authid" | "pg_roles" => roles(table, facts),
        "pg_user" | "pg_shadow" => users(table, facts),
        "pg_group" => groups(table, facts),
        "pg_auth_members" => members(table, facts),
        _ => {}
    }
}

/// The number of the role to which `relation` belongs.
pub(super) fn owner(facts: &Facts, relation: &Relation) -> u32 {
    role(&facts.catalog.relation_rights(relation).owner)
}

/// What was granted, as PostgreSQL shows it; NULL while nothing was granted or revoked.
pub(super) fn acl(rights: &Rights) -> Value {
    let shown = rights.acl.as_ref().map(|items| items.iter().map(ToString::to_string).collect::<Vec<String>>());
    shown.into()
}

/// All roles by name; those who connected under a name that no role has are superusers.
pub(super) fn all(facts: &Facts) -> BTreeMap<&str, Role> {
    let users = facts.sessions.iter().map(|session| session.user.as_str()).chain([facts.user()]);
    let trusted = |name| (name, Role { superuser: true, login: true, ..Role::new(name) });
    let mut found: BTreeMap<&str, Role> = users.filter(|name| !name.is_empty()).map(trusted).collect();
    found.extend(facts.catalog.access().roles().map(|role| (role.name.as_str(), role.clone())));
    found
}

/// The verifier of a password: for superusers alone.
fn password(role: &Role, open: bool, facts: &Facts) -> Value {
    match &role.verifier {
        Some(verifier) if open && facts.identity.superuser => verifier.as_str().into(),
        _ if !open => HIDDEN.into(),
        _ => Value::Null,
    }
}

fn roles(table: &mut Table, facts: &Facts) {
    let open = table.name() == "pg_authid";
    for (name, role) in all(facts) {
        let limit = role.connections_max.map_or(-1, i64::from);
        table.row([
            ("oid", super::names::role(name).into()),
            ("rolname", name.into()),
            ("rolsuper", role.superuser.into()),
            ("rolinherit", role.inherit.into()),
            ("rolcreaterole", (role.create_role || role.superuser).into()),
            ("rolcreatedb", (role.create_db || role.superuser).into()),
            ("rolcanlogin", role.login.into()),
            ("rolconnlimit", limit.into()),
            ("rolpassword", password(&role, open, facts)),
            ("rolvaliduntil", role.valid_until_us.into()),
        ]);
    }
}

fn users(table: &mut Table, facts: &Facts) {
    let open = table.name() == "pg_shadow";
    for (name, role) in all(facts).into_iter().filter(|(_, role)| role.login) {
        table.row([
            ("usename", name.into()),
            ("usesysid", super::names::role(name).into()),
            ("usecreatedb", (role.create_db || role.superuser).into()),
            ("usesuper", role.superuser.into()),
            ("passwd", password(&role, open, facts)),
            ("valuntil", role.valid_until_us.into()),
        ]);
    }
}

fn groups(table: &mut Table, facts: &Facts) {
    let access = facts.catalog.access();
    for group in access.roles().filter(|role| !role.login) {
        let members = access.roles().filter(|role| role.member_of.contains_key(&group.name));
        let members: Vec<i64> = members.map(|member| role(&member.name).into()).collect();
        table.row([
            ("groname", group.name.as_str().into()),
            ("grosysid", role(&group.name).into()),
            ("grolist", members.into()),
        ]);
    }
}

fn members(table: &mut Table, facts: &Facts) {
    for member in facts.catalog.access().roles() {
        for (of, membership) in &member.member_of {
            table.row([
                ("oid", named_oid("membership", &format!("{of} {}", member.name)).into()),
                ("roleid", role(of).into()),
                ("member", role(&member.name).into()),
                ("grantor", role(&membership.grantor).into()),
                ("admin_option", membership.admin.into()),
                ("inherit_option", member.inherit.into()),
                ("set_option", true.into()),
            ]);
        }
    }
}
