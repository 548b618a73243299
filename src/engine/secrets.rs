//! Secrets in options: their names stand in the catalog, their values stand in for them only while a source or sink is
//! checked or opened, and in no error of that.

use std::collections::BTreeMap;

use crate::base::{Error, Result, Secret};
use crate::catalog::{Catalog, Identity, Object, Privilege, SecretChange};
use crate::sql::{CreateRelation, CreateSink, FormatClause, Name, Options};
use crate::storage::SecretFiles;

use super::ddl::Ddl;
use super::shared::Shared;
use super::sources;

/// Whoever knows the values of secrets.
pub(super) trait Secrets {
    /// The value of the secret called `name`; fails where it stands.
    fn value(&self, name: &Name) -> Result<Secret>;
}

/// All secrets of a catalog, for a source or sink that is there already.
pub(super) struct Stored<'a> {
    /// The names.
    pub catalog: &'a Catalog,
    /// The values.
    pub files: SecretFiles,
}

impl Secrets for Stored<'_> {
    fn value(&self, name: &Name) -> Result<Secret> {
        let entry = self.catalog.require_secret(&name.name).map_err(|error| error.at(name.position))?;
        self.files.read(&entry.file)
    }
}

/// The secrets of a catalog that `identity` may use.
pub(super) struct Usable<'a> {
    /// All of them.
    pub stored: Stored<'a>,
    /// Who uses them.
    pub identity: &'a Identity,
}

impl Secrets for Usable<'_> {
    fn value(&self, name: &Name) -> Result<Secret> {
        let catalog = self.stored.catalog;
        catalog.require_secret(&name.name).map_err(|error| error.at(name.position))?;
        let permitted = catalog.permit(self.identity, &Object::Secret(name.name.clone()), Privilege::Usage);
        permitted.map_err(|error| error.at(name.position))?;
        self.stored.value(name)
    }
}

/// The secrets of a script that is only checked.
impl Secrets for BTreeMap<String, Secret> {
    fn value(&self, name: &Name) -> Result<Secret> {
        self.get(&name.name).cloned().ok_or_else(|| {
            Error::invalid(format!("secret \"{}\" does not exist", name.name))
                .with_code(crate::base::sqlstate::UNDEFINED_OBJECT)
                .with_hint(format!("CREATE SECRET {} AS '...' makes it.", name.name))
                .at(name.position)
        })
    }
}

/// The values that stand in a statement's options.
#[derive(Default)]
pub(super) struct Revealed(BTreeMap<String, Secret>);

impl Revealed {
    /// The names of the secrets.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.0.keys().cloned()
    }

    fn fill(&mut self, options: &mut Options, secrets: &dyn Secrets) -> Result<()> {
        for value in options.values.values_mut() {
            let Some(name) = &value.secret else { continue };
            let secret = secrets.value(name)?;
            value.text = secret.reveal().to_string();
            self.0.insert(name.name.clone(), secret);
        }
        Ok(())
    }

    fn fill_format(&mut self, format: &mut Option<FormatClause>, secrets: &dyn Secrets) -> Result<()> {
        format.as_mut().map_or(Ok(()), |clause| self.fill(&mut clause.options, secrets))
    }

    /// The same result; an error that quotes a value is told without its texts.
    pub(super) fn guard<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| {
            let texts = [Some(error.message()), error.detail(), error.hint()].into_iter().flatten();
            let mut texts: Vec<String> = texts.map(str::to_string).collect();
            texts.extend(error.contexts().iter().cloned());
            let mut cause = std::error::Error::source(&error);
            while let Some(found) = cause {
                texts.push(found.to_string());
                cause = found.source();
            }
            if !self.0.values().any(|secret| texts.iter().any(|text| quotes(text, secret.reveal()))) {
                return error;
            }
            let names = self.0.keys().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
            let told = Error::new(error.kind(), "an option whose value is a secret was not accepted")
                .with_code(error.sqlstate())
                .with_detail(format!("What was said of it quotes the value, and is not shown. Secrets used: {names}."))
                .with_hint("Try the option with a text that is no secret to see what is wrong.");
            match error.position() {
                Some(position) => told.at(position),
                None => told,
            }
        })
    }
}

/// Whether `text` shows `value`. Very short ones stand in any text: they count where they are quoted.
fn quotes(text: &str, value: &str) -> bool {
    match value.len() {
        0 => false,
        1..4 => text.contains(&format!("'{value}'")) || text.contains(&format!("\"{value}\"")),
        _ => text.contains(value) || text.to_lowercase().contains(&value.to_lowercase()),
    }
}

/// CREATE SOURCE with the values of the secrets that it names.
pub(super) fn fill_source(create: &CreateRelation, secrets: &dyn Secrets) -> Result<(CreateRelation, Revealed)> {
    let (mut create, mut revealed) = (create.clone(), Revealed::default());
    revealed.fill(&mut create.options, secrets)?;
    revealed.fill_format(&mut create.format, secrets)?;
    Ok((create, revealed))
}

/// CREATE SINK with the values of the secrets that it names.
pub(super) fn fill_sink(create: &CreateSink, secrets: &dyn Secrets) -> Result<(CreateSink, Revealed)> {
    let (mut create, mut revealed) = (create.clone(), Revealed::default());
    revealed.fill(&mut create.options, secrets)?;
    revealed.fill_format(&mut create.format, secrets)?;
    Ok((create, revealed))
}

/// Fails when `ddl` gives a secret a value that a source or sink which uses it could not be opened with.
pub(super) fn check_altered(ddl: &Ddl, changed: &Catalog, shared: &Shared) -> Result<()> {
    let Ddl::Secret(SecretChange::Alter { name, .. }) = ddl else { return Ok(()) };
    let secrets = Stored { catalog: changed, files: shared.data_dir.secrets() };
    changed.users_of_secret(name).iter().try_for_each(|relation| {
        let checked = sources::check(relation, &shared.settings, &secrets);
        checked.map_err(|error| {
            let title = relation.title();
            let told = Error::invalid(format!("{title} cannot have that value of secret \"{name}\""));
            let told = told.with_code(error.sqlstate()).with_detail(format!("{}.", error.message()));
            match error.hint() {
                Some(hint) => told.with_hint(hint),
                None => told,
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_do_not_quote_values() {
        let revealed =
            Revealed(BTreeMap::from([("s".into(), Secret::new("Hunter2x")), ("t".into(), Secret::new("ab"))]));
        let told = |error: Error| revealed.guard::<()>(Err(error)).unwrap_err().report();
        for error in [
            Error::invalid("no value 'Hunter2x'"),
            Error::invalid("x").with_detail("found hunter2x."),
            Error::invalid("x").with_hint("not \"ab\"."),
            Error::invalid("x").context("at Hunter2x"),
            Error::invalid("x").caused_by(std::io::Error::other("Hunter2x")),
        ] {
            let report = told(error);
            assert!(report.starts_with("an option whose value is a secret was not accepted"), "{report}");
            assert!(report.contains("Secrets used: \"s\", \"t\"") && !report.to_lowercase().contains("hunter2x"));
        }
        assert_eq!(told(Error::invalid("a table about cabs").at(3)), "a table about cabs");
    }
}
