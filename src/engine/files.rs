//! Which files of the server statements may name: those below the folder of setting `files_from`; without it those that
//! the server's own user may open, but then by superusers alone.

use std::path::Path;

use crate::base::{Error, Result, Settings, sqlstate};
use crate::catalog::Identity;
use crate::connectors::Beneath;

/// The files that one who writes a statement may name.
pub(super) enum Files {
    /// Any.
    Anywhere,
    /// None.
    Nowhere,
    /// Those below a folder.
    Beneath(Box<Beneath>),
}

impl Files {
    /// Those that `identity` may name.
    pub(super) fn of(settings: &Settings, identity: &Identity) -> Result<Files> {
        Ok(match folder(settings)? {
            Some(beneath) => Files::Beneath(Box::new(beneath)),
            None if identity.superuser => Files::Anywhere,
            None => Files::Nowhere,
        })
    }

    /// Fails with 42501 unless `path`, a folder that need not be there yet, may be named.
    pub(super) fn permit_folder(&self, path: &str) -> Result<()> {
        match self {
            Files::Anywhere | Files::Nowhere => self.permit(path),
            Files::Beneath(beneath) => beneath.require(Path::new(path)),
        }
    }

    /// Fails with 42501 unless `path`, a path or glob, may be named. Links on its way are followed when it is opened.
    pub(super) fn permit(&self, path: &str) -> Result<()> {
        match self {
            Files::Anywhere => Ok(()),
            Files::Beneath(beneath) => beneath.require_name(path),
            Files::Nowhere => Err(Error::invalid("permission denied to name files of the server")
                .with_code(sqlstate::INSUFFICIENT_PRIVILEGE)
                .with_detail(
                    "The server would open them as its own user. It was started without --files-from: only superusers \
                     may name any.",
                )
                .with_hint(
                    "Start it with --files-from DIR: everyone may then name files below DIR, and nobody others.",
                )),
        }
    }
}

/// The folder of setting `files_from`, if there is one.
pub(super) fn folder(settings: &Settings) -> Result<Option<Beneath>> {
    let named = Some(&settings.files_from).filter(|named| !named.is_empty());
    named.map(|named| Beneath::new(Path::new(named), &settings.data_dir)).transpose()
}

/// The folder that the files of a source or sink over `path` must not leave. None: any, also for one that was made when
/// the server was started otherwise.
pub(super) fn around(settings: &Settings, path: &str) -> Result<Option<Beneath>> {
    Ok(folder(settings)?.filter(|beneath| beneath.names(path)))
}
