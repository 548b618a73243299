//! CREATE, ALTER, DROP and COMMENT ON SECRET. A value is written where only the server's user reads it before the catalog
//! names its file, and taken away after the catalog does not: no text and no log holds it.

use crate::base::Result;
use crate::catalog::{Object, Privilege, SecretChange};
use crate::sql::{Name, SecretStatement};

use super::super::api::Notice;
use super::super::ddl::Ddl;
use super::Work;

impl Work<'_> {
    /// A statement about secrets.
    pub(super) async fn secret(&mut self, statement: &SecretStatement) -> Result<()> {
        match statement {
            SecretStatement::Create { name, if_not_exists, value } => {
                let catalog = self.catalog();
                let permitted = catalog.permit(&self.identity, &Object::Database, Privilege::Create);
                permitted.map_err(|error| error.at(name.position))?;
                if *if_not_exists && catalog.secret(&name.name).is_some() {
                    self.notices.push(Notice::new(format!("secret \"{}\" already exists, skipping", name.name)));
                    return Ok(());
                }
                let owner = self.identity.owner.clone();
                self.store(name, value, |name, file| SecretChange::Create { name, file, owner }).await
            }
            SecretStatement::Alter { name, value } => {
                self.owns_secret(name)?;
                let old = self.catalog().secret(&name.name).map(|entry| entry.file.clone());
                self.store(name, value, |name, file| SecretChange::Alter { name, file }).await?;
                old.iter().for_each(|old| self.handle.shared.data_dir.secrets().remove(old));
                Ok(())
            }
            SecretStatement::Drop { names, if_exists, cascade } => self.drop_secrets(names, *if_exists, *cascade).await,
            SecretStatement::Comment { name, text } => {
                self.owns_secret(name)?;
                let (name, text) = (name.name.clone(), text.clone());
                self.make(Ddl::Secret(SecretChange::Comment { name, text })).await
            }
        }
    }

    /// Writes a value, then makes the change that names its file.
    async fn store(
        &mut self,
        name: &Name,
        value: &crate::base::Secret,
        change: impl FnOnce(String, String) -> SecretChange,
    ) -> Result<()> {
        let files = self.handle.shared.data_dir.secrets();
        let file = files.write(value)?;
        let made = self.make(Ddl::Secret(change(name.name.clone(), file.clone()))).await;
        // What was refused is named by nobody. What may have been accepted stays until the next start tells.
        if let Err(error) = made {
            if self.catalog().secret(&name.name).is_none_or(|entry| entry.file != file) {
                files.remove(&file);
            }
            return Err(error.at(name.position));
        }
        Ok(())
    }

    async fn drop_secrets(&mut self, names: &[Name], if_exists: bool, cascade: bool) -> Result<()> {
        let catalog = self.catalog();
        let mut dropped = Vec::new();
        for name in names {
            if if_exists && catalog.secret(&name.name).is_none() {
                self.notices.push(Notice::new(format!("secret \"{}\" does not exist, skipping", name.name)));
                continue;
            }
            self.owns_secret(name)?;
            if !dropped.contains(&name.name) {
                dropped.push(name.name.clone());
            }
        }
        let Some(first) = names.first().filter(|_| !dropped.is_empty()) else { return Ok(()) };
        let files: Vec<String> =
            dropped.iter().filter_map(|name| catalog.secret(name)).map(|entry| entry.file.clone()).collect();
        let made = self.make(Ddl::Secret(SecretChange::Drop { names: dropped, cascade })).await;
        made.map_err(|error| error.at(first.position))?;
        files.iter().for_each(|file| self.handle.shared.data_dir.secrets().remove(file));
        Ok(())
    }

    fn owns_secret(&self, name: &Name) -> Result<()> {
        let catalog = self.catalog();
        catalog.require_secret(&name.name).map_err(|error| error.at(name.position))?;
        let owns = catalog.permit_owner(&self.identity, &Object::Secret(name.name.clone()));
        owns.map_err(|error| error.at(name.position))
    }
}
