//! The ordered sequence of files that a path or glob names. It only grows, at its end.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Beneath;
use crate::base::{Error, Result, sqlstate};

/// File names in order; shared by all readers of a source, so that they agree on indices.
pub(super) struct Sequence {
    pattern: String,
    is_pattern: bool,
    beneath: Option<Beneath>,
    names: Mutex<Vec<Arc<str>>>,
}

impl Sequence {
    /// Of `path`, which is a glob if no file has exactly that name and it holds one of `* ? [`. No file is looked at that
    /// is not `beneath`.
    pub(super) fn new(path: &str, beneath: Option<Beneath>) -> Result<Self> {
        beneath.as_ref().map_or(Ok(()), |beneath| beneath.require_name(path))?;
        let is_pattern = path.contains(['*', '?', '[']) && !std::path::Path::new(path).is_file();
        if is_pattern {
            glob::Pattern::new(path).map_err(|error| {
                Error::invalid(format!("path \"{path}\" is no glob pattern"))
                    .with_detail(format!("At character {}: {}.", error.pos + 1, error.msg))
                    .with_hint("Use *, ?, [a-z] and ** for whole folders; write a literal * as [*].")
            })?;
        }
        if path.is_empty() {
            return Err(Error::invalid("option \"path\" is empty").with_hint("Name a file, or files by a glob."));
        }
        Ok(Sequence { pattern: path.to_owned(), is_pattern, beneath, names: Mutex::new(Vec::new()) })
    }

    /// Whether it is a glob.
    pub(super) fn is_pattern(&self) -> bool {
        self.is_pattern
    }

    /// The name of file `index`, if it is known.
    pub(super) fn name(&self, index: usize) -> Option<Arc<str>> {
        self.names.lock().get(index).cloned()
    }

    /// Looks for new files; returns how many there are now. `Unavailable` when one has appeared among those known.
    pub(super) fn refresh(&self) -> Result<usize> {
        let found = self.list()?;
        let mut names = self.names.lock();
        let last = names.last().cloned();
        for name in found {
            let is_new = last.as_ref().is_none_or(|last| *name > **last);
            if is_new {
                names.push(name.into());
            } else if names.binary_search_by(|known| (**known).cmp(name.as_str())).is_err() {
                return Err(Error::unavailable(format!("file \"{name}\" appeared before one that was already listed"))
                    .with_detail(format!("The sequence already goes up to \"{}\".", last.as_deref().unwrap_or("")))
                    .with_hint("Give new files names that sort behind the existing ones, and move this one away."));
            }
        }
        Ok(names.len())
    }

    /// Fails when the file `name` does not lie where the files of this source must: asked again whenever one is opened.
    pub(super) fn permit(&self, name: &str) -> Result<()> {
        self.beneath.as_ref().map_or(Ok(()), |beneath| beneath.require(std::path::Path::new(name)))
    }

    fn list(&self) -> Result<Vec<String>> {
        if !self.is_pattern {
            self.permit(&self.pattern)?;
            return match std::fs::metadata(&self.pattern) {
                Ok(metadata) if metadata.is_dir() => {
                    Err(Error::invalid(format!("path \"{}\" is a folder", self.pattern))
                        .with_hint(format!("Name its files by a glob: '{}/*'.", self.pattern.trim_end_matches('/'))))
                }
                Ok(_) => Ok(vec![self.pattern.clone()]),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
                Err(error) => Err(unreadable(&self.pattern, error)),
            };
        }
        let paths = glob::glob(&self.pattern).map_err(|error| Error::invalid(error.to_string()))?;
        let mut names = Vec::new();
        for path in paths {
            let path = path.map_err(|error| unreadable(&error.path().display().to_string(), error.into()))?;
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if hidden || path.is_dir() {
                continue;
            }
            let name = path.to_str().ok_or_else(|| {
                Error::invalid(format!("the name of file \"{}\" is not UTF-8", path.display()))
                    .with_hint("Rename it, or choose a pattern that leaves it out.")
            })?;
            self.permit(name)?;
            names.push(name.to_owned());
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// An error of the file system on `name`.
pub(super) fn unreadable(name: &str, error: std::io::Error) -> Error {
    Error::unavailable(format!("file \"{name}\" can not be read: {error}"))
        .with_code(sqlstate::IO_ERROR)
        .with_hint("Check that it exists and that the server's user may read it; the source goes on by itself then.")
        .caused_by(error)
}
