//! Rights on objects: what may be done, and who was given what by whom.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Identity;
use crate::base::{Error, Result, sqlstate};
use crate::catalog::postgres::OWNER;

/// What may be done with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Privilege {
    /// Add rows.
    Insert,
    /// Read rows.
    Select,
    /// Change rows.
    Update,
    /// Take rows away.
    Delete,
    /// `TRUNCATE`: kept and shown; there is no such statement.
    Truncate,
    /// `REFERENCES`: kept and shown.
    References,
    /// `TRIGGER`: kept and shown.
    Trigger,
    /// Call a function.
    Execute,
    /// Name what is in a schema; put a secret into options.
    Usage,
    /// Make objects in a schema, or schemas and secrets.
    Create,
    /// `TEMPORARY`: kept and shown.
    Temporary,
    /// Connect to the database.
    Connect,
}

impl Privilege {
    /// All of them, with the letters and in the order in which PostgreSQL shows them.
    pub const ALL: [(Privilege, char, &'static str); 12] = [
        (Privilege::Insert, 'a', "INSERT"),
        (Privilege::Select, 'r', "SELECT"),
        (Privilege::Update, 'w', "UPDATE"),
        (Privilege::Delete, 'd', "DELETE"),
        (Privilege::Truncate, 'D', "TRUNCATE"),
        (Privilege::References, 'x', "REFERENCES"),
        (Privilege::Trigger, 't', "TRIGGER"),
        (Privilege::Execute, 'X', "EXECUTE"),
        (Privilege::Usage, 'U', "USAGE"),
        (Privilege::Create, 'C', "CREATE"),
        (Privilege::Temporary, 'T', "TEMPORARY"),
        (Privilege::Connect, 'c', "CONNECT"),
    ];

    /// The privilege that SQL calls `word`.
    pub fn named(word: &str) -> Option<Privilege> {
        let word = if word.eq_ignore_ascii_case("temp") { "temporary" } else { word };
        Privilege::ALL.into_iter().find(|(_, _, name)| name.eq_ignore_ascii_case(word)).map(|(privilege, ..)| privilege)
    }

    /// As SQL calls it.
    pub fn word(self) -> &'static str {
        Privilege::ALL.into_iter().find(|(privilege, ..)| *privilege == self).map_or("", |(_, _, word)| word)
    }
}

/// Kinds of objects that differ in their privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectClass {
    /// Tables, sources, views, materialized views, sinks.
    Relation,
    /// Functions.
    Function,
    /// Schemas.
    Schema,
    /// The database.
    Database,
    /// Secrets.
    Secret,
}

impl ObjectClass {
    /// What may be done with such objects.
    pub fn privileges(self) -> &'static [Privilege] {
        match self {
            ObjectClass::Relation => &[
                Privilege::Insert,
                Privilege::Select,
                Privilege::Update,
                Privilege::Delete,
                Privilege::Truncate,
                Privilege::References,
                Privilege::Trigger,
            ],
            ObjectClass::Function => &[Privilege::Execute],
            ObjectClass::Schema => &[Privilege::Usage, Privilege::Create],
            ObjectClass::Database => &[Privilege::Create, Privilege::Temporary, Privilege::Connect],
            ObjectClass::Secret => &[Privilege::Usage],
        }
    }

    /// What everyone may do with such an object until it is revoked, as in PostgreSQL. `public`: the schema of that name.
    fn of_everyone(self, public: bool) -> &'static [Privilege] {
        match self {
            ObjectClass::Function => &[Privilege::Execute],
            ObjectClass::Database => &[Privilege::Temporary, Privilege::Connect],
            ObjectClass::Schema if public => &[Privilege::Usage],
            ObjectClass::Schema | ObjectClass::Relation | ObjectClass::Secret => &[],
        }
    }
}

/// What someone was given by someone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AclItem {
    /// Who was given it; empty: everyone (PUBLIC).
    pub grantee: String,
    /// Who gave it.
    pub grantor: String,
    /// What was given.
    pub privileges: BTreeSet<Privilege>,
    /// What of it may be given on.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub grantable: BTreeSet<Privilege>,
}

impl fmt::Display for AclItem {
    /// As PostgreSQL shows it: `ada=ar*w/millstream`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quoted(&self.grantee))?;
        f.write_str("=")?;
        for (privilege, letter, _) in Privilege::ALL {
            if self.privileges.contains(&privilege) {
                write!(f, "{letter}{}", if self.grantable.contains(&privilege) { "*" } else { "" })?;
            }
        }
        write!(f, "/{}", quoted(&self.grantor))
    }
}

fn quoted(name: &str) -> String {
    let plain = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if plain { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Whose an object is, and who may do what with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rights {
    /// The role to which it belongs.
    #[serde(default = "first_role")]
    pub owner: String,
    /// What was granted; none: nothing was granted or revoked yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<Vec<AclItem>>,
}

fn first_role() -> String {
    OWNER.1.to_string()
}

impl Default for Rights {
    fn default() -> Rights {
        Rights { owner: first_role(), acl: None }
    }
}

/// A grant, or what is taken back, of privileges on one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    /// What.
    pub privileges: BTreeSet<Privilege>,
    /// To, or from, whom; empty: everyone.
    pub grantees: Vec<String>,
    /// In whose name: the owner, or a role that may give it on.
    pub grantor: String,
    /// `WITH GRANT OPTION`, `GRANT OPTION FOR`.
    #[serde(default)]
    pub option: bool,
    /// Whether what depends on it goes too.
    #[serde(default)]
    pub cascade: bool,
}

impl Rights {
    /// Those of a new object of `owner`.
    pub fn of(owner: &str) -> Rights {
        Rights { owner: owner.to_string(), acl: None }
    }

    /// Whether they are those of an object of the first role about which nothing was said.
    pub fn is_default(&self) -> bool {
        *self == Rights::default()
    }

    /// Who may do what. `public`: of the schema of that name.
    pub fn items(&self, class: ObjectClass, public: bool) -> Vec<AclItem> {
        if let Some(acl) = &self.acl {
            return acl.clone();
        }
        let item = |grantee: &str, privileges: &[Privilege]| AclItem {
            grantee: grantee.to_string(),
            grantor: self.owner.clone(),
            privileges: privileges.iter().copied().collect(),
            grantable: BTreeSet::new(),
        };
        let everyone = item("", class.of_everyone(public));
        let mut items = vec![everyone, item(&self.owner, class.privileges())];
        items.retain(|item| !item.privileges.is_empty());
        items
    }

    /// Whether `identity` may do `privilege`; with `option`: may give it on.
    pub fn allow(
        &self,
        class: ObjectClass,
        public: bool,
        identity: &Identity,
        privilege: Privilege,
        option: bool,
    ) -> bool {
        if identity.superuser || option && identity.roles.contains(&self.owner) {
            return true;
        }
        self.items(class, public).iter().any(|item| {
            let whom = item.grantee.is_empty() && !option || identity.roles.contains(&item.grantee);
            whom && if option { &item.grantable } else { &item.privileges }.contains(&privilege)
        })
    }

    /// Whether `role` stands in them.
    pub fn name(&self, role: &str) -> bool {
        self.owner == role || self.acl.iter().flatten().any(|item| item.grantee == role || item.grantor == role)
    }

    /// Gives privileges.
    pub(super) fn grant(&mut self, class: ObjectClass, public: bool, grant: &Grant) -> Result<()> {
        let mut items = self.items(class, public);
        for grantee in &grant.grantees {
            if grant.option && grantee.is_empty() {
                return Err(Error::invalid("grant options can only be granted to roles")
                    .with_code("0LP01")
                    .with_hint("Leave WITH GRANT OPTION out, or name a role instead of PUBLIC."));
            }
            let place = items.iter().position(|item| item.grantee == *grantee && item.grantor == grant.grantor);
            let place = place.unwrap_or_else(|| {
                let (grantee, grantor) = (grantee.clone(), grant.grantor.clone());
                items.push(AclItem { grantee, grantor, privileges: BTreeSet::new(), grantable: BTreeSet::new() });
                items.len() - 1
            });
            let item = &mut items[place];
            item.privileges.extend(&grant.privileges);
            if grant.option && *grantee != self.owner {
                item.grantable.extend(&grant.privileges);
            }
        }
        self.acl = Some(items);
        Ok(())
    }

    /// Takes privileges back, and with `cascade` what was given on by those who lose them.
    pub(super) fn revoke(&mut self, class: ObjectClass, public: bool, grant: &Grant) -> Result<()> {
        let mut items = self.items(class, public);
        let mut open: Vec<(String, String, BTreeSet<Privilege>, bool)> = grant
            .grantees
            .iter()
            .map(|grantee| (grantee.clone(), grant.grantor.clone(), grant.privileges.clone(), grant.option))
            .collect();
        while let Some((grantee, grantor, privileges, option)) = open.pop() {
            for item in items.iter_mut().filter(|item| item.grantee == grantee && item.grantor == grantor) {
                item.grantable.retain(|privilege| !privileges.contains(privilege));
                if !option {
                    item.privileges.retain(|privilege| !privileges.contains(privilege));
                }
            }
            // What the grantee has given on and may no longer.
            let still = |privilege: &Privilege| {
                grantee == self.owner
                    || items.iter().any(|item| item.grantee == grantee && item.grantable.contains(privilege))
            };
            let lost: BTreeSet<Privilege> = privileges.iter().copied().filter(|privilege| !still(privilege)).collect();
            for item in
                items.iter().filter(|item| item.grantor == grantee && !grantee.is_empty() && item.grantee != grantee)
            {
                let hanging: BTreeSet<Privilege> = item.privileges.intersection(&lost).copied().collect();
                if hanging.is_empty() {
                    continue;
                }
                if !grant.cascade {
                    return Err(Error::invalid("dependent privileges exist")
                        .with_code(sqlstate::DEPENDENT_OBJECTS_EXIST)
                        .with_detail(format!("Role \"{grantee}\" has given it on."))
                        .with_hint("Use CASCADE to revoke them too."));
                }
                open.push((item.grantee.clone(), grantee.clone(), hanging, false));
            }
        }
        items.retain(|item| !item.privileges.is_empty());
        self.acl = Some(items);
        Ok(())
    }

    /// Gives the object to another role, which takes the old one's place wherever it stands.
    pub(super) fn give(&mut self, owner: &str) {
        let old = std::mem::replace(&mut self.owner, owner.to_string());
        let Some(acl) = &mut self.acl else { return };
        let mut merged: Vec<AclItem> = Vec::new();
        for mut item in std::mem::take(acl) {
            for name in [&mut item.grantee, &mut item.grantor] {
                if *name == old {
                    *name = owner.to_string();
                }
            }
            match merged.iter_mut().find(|known| known.grantee == item.grantee && known.grantor == item.grantor) {
                Some(known) => {
                    known.privileges.extend(item.privileges);
                    known.grantable.extend(item.grantable);
                }
                None => merged.push(item),
            }
        }
        *acl = merged;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(privileges: &[Privilege], grantee: &str, grantor: &str, option: bool, cascade: bool) -> Grant {
        let privileges = privileges.iter().copied().collect();
        Grant { privileges, grantees: vec![grantee.into()], grantor: grantor.into(), option, cascade }
    }

    fn shown(rights: &Rights) -> String {
        let items = rights.items(ObjectClass::Relation, false);
        items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_was_given_on_goes_with_what_was_given() {
        let (class, select) = (ObjectClass::Relation, [Privilege::Select]);
        let mut rights = Rights::of("owner");
        assert_eq!(shown(&rights), "owner=arwdDxt/owner");
        rights.grant(class, false, &grant(&select, "ada", "owner", true, false)).unwrap();
        rights.grant(class, false, &grant(&select, "bob", "ada", true, false)).unwrap();
        rights.grant(class, false, &grant(&select, "", "bob", false, false)).unwrap();
        assert_eq!(shown(&rights), "owner=arwdDxt/owner ada=r*/owner bob=r*/ada =r/bob");
        let error = rights.revoke(class, false, &grant(&select, "ada", "owner", true, false)).unwrap_err();
        assert_eq!(error.sqlstate(), "2BP01");
        rights.revoke(class, false, &grant(&select, "ada", "owner", true, true)).unwrap();
        assert_eq!(shown(&rights), "owner=arwdDxt/owner ada=r/owner");
        rights.give("ada");
        assert_eq!(shown(&rights), "ada=arwdDxt/ada");
    }

    #[test]
    fn two_who_give_each_other_end_well() {
        let (class, select) = (ObjectClass::Relation, [Privilege::Select]);
        let mut rights = Rights::of("owner");
        for (grantee, grantor) in [("ada", "owner"), ("bob", "ada"), ("ada", "bob")] {
            rights.grant(class, false, &grant(&select, grantee, grantor, true, false)).unwrap();
        }
        rights.revoke(class, false, &grant(&select, "bob", "ada", false, true)).unwrap();
        assert_eq!(shown(&rights), "owner=arwdDxt/owner ada=r*/owner");
        assert!(rights.grant(class, false, &grant(&select, "", "owner", true, false)).is_err());
    }
}
