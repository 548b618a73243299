//! Secrets: names that stand in options for values which are shown nowhere. The catalog knows whose they are and where the
//! value lies; the value itself is in none of its texts.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Rights;
use crate::base::{Error, Result, did_you_mean, sqlstate};
use crate::catalog::catalog::Catalog;
use crate::catalog::relation::Relation;

/// Names are at most this long, in bytes.
const NAME_BYTES_MAX: usize = 63;

/// All of a secret but its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecretEntry {
    /// Which of the stored values is its own.
    pub file: String,
    /// Whose it is, and who may use it.
    #[serde(default, skip_serializing_if = "Rights::is_default")]
    pub rights: Rights,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// One change of the secrets there are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretChange {
    /// CREATE SECRET.
    Create {
        /// Its name.
        name: String,
        /// Which of the stored values is its own.
        file: String,
        /// To whom it belongs.
        owner: String,
    },
    /// ALTER SECRET ... AS.
    Alter {
        /// Which.
        name: String,
        /// Which of the stored values is its own from now on.
        file: String,
    },
    /// DROP SECRET.
    Drop {
        /// Which.
        names: Vec<String>,
        /// Whether what uses them goes too.
        cascade: bool,
    },
    /// COMMENT ON SECRET.
    Comment {
        /// Which.
        name: String,
        /// The text; none: no comment any more.
        text: Option<String>,
    },
}

impl Catalog {
    /// The secret called `name`.
    pub fn secret(&self, name: &str) -> Option<&SecretEntry> {
        self.access.secrets.get(name)
    }

    /// All secrets by name.
    pub fn secrets(&self) -> impl ExactSizeIterator<Item = (&str, &SecretEntry)> {
        self.access.secrets.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// The secret called `name`; fails with 42704 and the nearest name there is.
    pub fn require_secret(&self, name: &str) -> Result<&SecretEntry> {
        self.secret(name).ok_or_else(|| {
            let error =
                Error::invalid(format!("secret \"{name}\" does not exist")).with_code(sqlstate::UNDEFINED_OBJECT);
            let near = did_you_mean(name, self.access.secrets.keys().map(String::as_str));
            error.with_hint(near.unwrap_or_else(|| format!("CREATE SECRET {name} AS '...' makes it.")))
        })
    }

    /// The relations whose options name the secret.
    pub fn users_of_secret(&self, name: &str) -> Vec<Arc<Relation>> {
        self.relations.values().filter(|relation| relation.secrets.contains(name)).map(Arc::clone).collect()
    }

    /// Changes the secrets there are; gives the relations that went with them, dependents first. On an error the catalog
    /// is to be thrown away.
    pub fn change_secrets(&mut self, change: &SecretChange) -> Result<Vec<Arc<Relation>>> {
        match change {
            SecretChange::Create { name, file, owner } => self.create_secret(name, file, owner)?,
            SecretChange::Alter { name, file } => self.secret_mut(name)?.file.clone_from(file),
            SecretChange::Comment { name, text } => self.secret_mut(name)?.comment.clone_from(text),
            SecretChange::Drop { names, cascade } => return self.drop_secrets(names, *cascade),
        }
        Ok(Vec::new())
    }

    fn create_secret(&mut self, name: &str, file: &str, owner: &str) -> Result<()> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(Error::invalid(format!("name of {} bytes; 1 to {NAME_BYTES_MAX} fit", name.len()))
                .with_code("42622")
                .with_hint("Choose a shorter name."));
        }
        if self.secret(name).is_some() {
            return Err(Error::invalid(format!("secret \"{name}\" already exists"))
                .with_code(sqlstate::DUPLICATE_OBJECT)
                .with_hint(format!("ALTER SECRET {name} AS '...' gives it another value.")));
        }
        self.access.require_role(owner)?;
        let entry = SecretEntry { file: file.to_string(), rights: Rights::of(owner), comment: None };
        Arc::make_mut(&mut self.access).secrets.insert(name.to_string(), entry);
        Ok(())
    }

    fn secret_mut(&mut self, name: &str) -> Result<&mut SecretEntry> {
        self.require_secret(name)?;
        let found = Arc::make_mut(&mut self.access).secrets.get_mut(name);
        found.ok_or_else(|| Error::internal("a secret is there and is not"))
    }

    fn drop_secrets(&mut self, names: &[String], cascade: bool) -> Result<Vec<Arc<Relation>>> {
        let mut dropped = Vec::new();
        for name in names {
            self.require_secret(name)?;
            let users = self.users_of_secret(name);
            if let (false, Some(_)) = (cascade, users.first()) {
                let titles: BTreeSet<String> = users.iter().map(|relation| relation.title()).collect();
                let list = titles.into_iter().collect::<Vec<_>>().join(", ");
                return Err(Error::invalid(format!("cannot drop secret \"{name}\" because it is in use"))
                    .with_code(sqlstate::DEPENDENT_OBJECTS_EXIST)
                    .with_detail(format!("Its value is an option of: {list}."))
                    .with_hint("Drop them first, or write DROP SECRET ... CASCADE to drop them too."));
            }
            for user in users {
                // A cascade may have taken it already.
                if self.by_id(user.id).is_some() {
                    dropped.extend(self.drop(user.id, true)?);
                }
            }
            Arc::make_mut(&mut self.access).secrets.remove(name);
        }
        Ok(dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{AccessChange, Grant, Identity, Object, Privilege, RelationKind};
    use crate::types::Schema;

    fn create(name: &str) -> SecretChange {
        SecretChange::Create { name: name.into(), file: format!("file of {name}"), owner: "millstream".into() }
    }

    fn uses(catalog: &mut Catalog, name: &str, secret: &str) -> Result<()> {
        let id = catalog.allocate_relation();
        let mut relation = Relation::new(id, name, RelationKind::Source, Schema::default());
        relation.secrets.insert(secret.into());
        catalog.create(relation).map(drop)
    }

    #[test]
    fn what_is_in_use_is_not_dropped_alone() {
        let mut catalog = Catalog::new();
        catalog.change_secrets(&create("key")).unwrap();
        assert_eq!(catalog.change_secrets(&create("key")).unwrap_err().sqlstate(), "42710");
        assert_eq!(uses(&mut catalog, "s", "kye").unwrap_err().sqlstate(), "40001");
        uses(&mut catalog, "s", "key").unwrap();
        let json = catalog.to_json().unwrap();
        assert_eq!(Catalog::from_json(&json).unwrap().to_json().unwrap(), json);
        assert_eq!(json["version"], 3);
        let drop = |cascade| SecretChange::Drop { names: vec!["key".into()], cascade };
        let error = catalog.clone().change_secrets(&drop(false)).unwrap_err();
        assert_eq!((error.sqlstate(), error.detail()), ("2BP01", Some("Its value is an option of: source \"s\".")));
        assert_eq!(catalog.change_secrets(&drop(true)).unwrap().len(), 1);
        assert!(catalog.secret("key").is_none() && catalog.relations().len() == 0);
        assert_eq!(catalog.change_secrets(&drop(true)).unwrap_err().sqlstate(), "42704");
    }

    #[test]
    fn nobody_uses_what_was_not_granted() {
        let mut catalog = Catalog::new();
        catalog.change_secrets(&create("key")).unwrap();
        let options = super::super::RoleOptions::default();
        catalog.change_access(&AccessChange::CreateRole { name: "ada".into(), options }).unwrap();
        let identity = |catalog: &Catalog| -> Identity { catalog.access().identity("ada").unwrap() };
        let object = Object::Secret("key".into());
        let error = catalog.permit(&identity(&catalog), &object, Privilege::Usage).unwrap_err();
        assert_eq!((error.sqlstate(), error.message()), ("42501", "permission denied for secret \"key\""));
        assert_eq!(error.hint(), Some("Its owner can GRANT USAGE ON secret key TO ada."));
        let grant = Grant {
            privileges: [Privilege::Usage].into(),
            grantees: vec!["ada".into()],
            grantor: "millstream".into(),
            option: false,
            cascade: false,
        };
        catalog.change_access(&AccessChange::Grant { object: object.clone(), grant }).unwrap();
        catalog.permit(&identity(&catalog), &object, Privilege::Usage).unwrap();
        assert!(catalog.permit_owner(&identity(&catalog), &object).is_err());
        assert_eq!(catalog.change_access(&AccessChange::DropRole("ada".into())).unwrap_err().sqlstate(), "2BP01");
    }
}
