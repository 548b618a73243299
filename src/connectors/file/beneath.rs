//! The folder below which files must lie, where the server was told one: neither names nor links lead out of it.

use std::path::{Component, Path, PathBuf};

use crate::base::{Error, Result, sqlstate};

/// A folder that files must not leave.
#[derive(Clone, Debug)]
pub struct Beneath {
    /// As it was named.
    named: PathBuf,
    /// Where it is.
    real: PathBuf,
    /// What stays closed though it may lie within.
    closed: PathBuf,
}

impl Beneath {
    /// The folder `dir`, apart from what lies in `closed`. Fails when it is not there.
    pub fn new(dir: &Path, closed: &Path) -> Result<Beneath> {
        let shown = dir.display();
        let refused = |why: String| {
            Error::invalid(format!("folder \"{shown}\" of --files-from {why}"))
                .with_code(sqlstate::UNDEFINED_FILE)
                .with_hint("Name a folder that is there and that the server's user may read.")
        };
        let real = dir.canonicalize().map_err(|error| refused(format!("does not open: {error}")).caused_by(error))?;
        if !real.is_dir() {
            return Err(refused("is not a folder".into()));
        }
        let named = std::path::absolute(dir).unwrap_or_else(|_| real.clone());
        let closed = closed.canonicalize().unwrap_or_else(|_| closed.to_path_buf());
        Ok(Beneath { named, real, closed })
    }

    /// Whether `path`, a path or glob, lies in the folder by its name alone; looks at no file.
    pub fn names(&self, path: &str) -> bool {
        let Ok(path) = std::path::absolute(path) else { return false };
        let leads_up = path.components().any(|part| part == Component::ParentDir);
        !leads_up && (path.starts_with(&self.named) || path.starts_with(&self.real))
    }

    /// Fails with 42501 unless `path` lies in the folder by its name alone.
    pub fn require_name(&self, path: &str) -> Result<()> {
        if self.names(path) {
            return Ok(());
        }
        let detail = match path.split('/').any(|part| part == "..") {
            true => "A path with \"..\" in it is not taken here.".to_string(),
            false => format!("Files below \"{}\" may be named: the server was started so.", self.named.display()),
        };
        Err(self.refused(path).with_detail(detail))
    }

    /// Fails with 42501 unless `path` lies in the folder once its links are followed. What is not there yet lies where
    /// the nearest folder above it does.
    pub fn require(&self, path: &Path) -> Result<()> {
        self.require_name(&path.to_string_lossy())?;
        let mut there = path;
        let real = loop {
            match (there.canonicalize(), there.parent()) {
                (Ok(real), _) => break Some(real),
                (Err(_), Some(above)) if there.symlink_metadata().is_err() => {
                    there = if above.as_os_str().is_empty() { Path::new(".") } else { above };
                }
                (Err(_), _) => break None,
            }
        };
        match real {
            Some(real) if real.starts_with(&self.closed) => Err(self
                .refused(&path.to_string_lossy())
                .with_detail("The data directory is closed, though it lies there.")),
            Some(real) if real.starts_with(&self.real) => Ok(()),
            Some(_) | None => Err(self.refused(&path.to_string_lossy()).with_detail(format!(
                "A link on the way to it leads out of \"{}\", or nowhere.",
                self.named.display()
            ))),
        }
    }

    fn refused(&self, path: &str) -> Error {
        Error::invalid(format!("file \"{path}\" is not below the folder of --files-from"))
            .with_code(sqlstate::INSUFFICIENT_PRIVILEGE)
            .with_hint(format!(
                "Put it below \"{}\" and name it by an absolute path, or start the server with another --files-from.",
                self.named.display()
            ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_names_nor_links_lead_out() {
        let top = tempfile::tempdir().unwrap();
        let top = top.path().canonicalize().unwrap();
        for folder in ["in/sub", "in/data", "out"] {
            std::fs::create_dir_all(top.join(folder)).unwrap();
        }
        for file in ["in/a", "in/sub/b", "in/data/secret", "out/c"] {
            std::fs::write(top.join(file), "x").unwrap();
        }
        let link = |from: &str, to: &str| std::os::unix::fs::symlink(top.join(to), top.join(from)).unwrap();
        link("in/link", "out");
        link("in/leaf", "out/c");
        link("in/own", "in/sub");
        link("in/dangling", "out/nothing");
        link("door", "in");
        let beneath = Beneath::new(&top.join("door"), &top.join("in/data")).unwrap();
        let open = |path: &str| beneath.require(&top.join(path)).is_ok();
        for path in ["in/a", "door/a", "in/sub/b", "in/own/b", "in/new/folder", "door", "in"] {
            assert!(open(path), "{path}");
        }
        for path in
            ["out/c", "in/../out/c", "in/link/c", "in/link/new", "in/leaf", "in/dangling", "in/data/secret", "", "inn"]
        {
            assert!(!open(path), "{path}");
        }
        assert!(beneath.names(&top.join("in/*.csv").to_string_lossy()));
        assert!(!beneath.names(&top.join("i*/a").to_string_lossy()));
        assert!(!beneath.names("/in/a") && !beneath.names(""));
        let error = beneath.require(&top.join("in/leaf")).unwrap_err();
        assert_eq!(error.sqlstate(), "42501");
        assert!(!error.report().contains("out/c"), "{}", error.report());
        assert!(Beneath::new(&top.join("in/a"), &top).is_err() && Beneath::new(&top.join("gone"), &top).is_err());
    }
}
