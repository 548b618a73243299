//! Connector `file`: a path or glob is one split, the ordered sequence of its files.
//!
//! Files are taken in the order of their names. With `follow`, files may grow and new files may appear behind the last
//! one; a file is left for the next only when the next exists, and is then taken to be complete. A file that vanishes,
//! shrinks, or appears before one that was already read puts the source into an error state: going on would change rows
//! that views already hold.

mod beneath;
mod position;
mod reader;
mod sequence;
mod sink;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use beneath::Beneath;
pub use position::FilePosition;
use reader::FileReader;
use sequence::Sequence;
pub use sink::{FileSink, Roll};

use super::{Framing, Promises, Source, SplitReader};
use crate::base::{Error, Result, sqlstate};
use crate::types::{Position, SplitId};

/// Whether a file source ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// It ends with the last file that its pattern names.
    No,
    /// It waits for files to grow and for new ones.
    Yes,
}

/// How a file source reads.
#[derive(Clone, Debug)]
pub struct FileSourceOptions {
    /// A path or a glob pattern, relative to the working directory of the server.
    pub path: String,
    /// Whether it ends.
    pub follow: Follow,
    /// Bytes per block, before it is cut at a line end. Default 1 MiB.
    pub block_bytes: usize,
    /// The longest record, in bytes; a longer one becomes a fault. Default 16 MiB.
    pub record_bytes_max: usize,
    /// The folder that files must lie in, also after links were followed.
    pub beneath: Option<Beneath>,
}

impl FileSourceOptions {
    /// Reads `path` to its end, with the default sizes.
    pub fn new(path: impl Into<String>) -> Self {
        FileSourceOptions {
            path: path.into(),
            follow: Follow::No,
            block_bytes: 1 << 20,
            record_bytes_max: 16 << 20,
            beneath: None,
        }
    }
}

/// Files as a source.
pub struct FileSource {
    options: FileSourceOptions,
    sequence: Arc<Sequence>,
}

impl FileSource {
    /// The one split.
    pub const SPLIT: &str = "files";

    /// Fails when the pattern is none, or names no file now (with `follow` a glob may name none yet).
    pub fn new(options: FileSourceOptions) -> Result<Self> {
        let sequence = Sequence::new(&options.path, options.beneath.clone())?;
        let found = sequence.refresh()?;
        let may_come = options.follow == Follow::Yes && sequence.is_pattern();
        if found == 0 && !may_come {
            let directory = std::env::current_dir().map(|dir| dir.display().to_string()).unwrap_or_default();
            return Err(Error::invalid(format!("no file is named by path \"{}\"", options.path))
                .with_code(sqlstate::UNDEFINED_FILE)
                .with_detail(format!("Relative paths begin at the server's working directory, {directory}."))
                .with_hint("Give an absolute path, or set follow = true with a glob if the files will come later."));
        }
        Ok(FileSource { options, sequence: Arc::new(sequence) })
    }

    /// The first file, for schema inference.
    pub fn first_file(&self) -> Option<std::path::PathBuf> {
        self.sequence.name(0).map(|name| std::path::PathBuf::from(&*name))
    }
}

impl Source for FileSource {
    fn promises(&self) -> Promises {
        Promises { bounded: self.options.follow == Follow::No, resumes: true, replays: true }
    }

    fn splits(&self) -> Result<Vec<SplitId>> {
        Ok(vec![SplitId(FileSource::SPLIT.into())])
    }

    fn start(&self, _split: &SplitId) -> Result<Position> {
        Ok(FilePosition::start().position())
    }

    fn open(&self, _split: &SplitId, position: &Position, framing: Framing) -> Result<Box<dyn SplitReader>> {
        let position = FilePosition::parse(position)?;
        let sequence = Arc::clone(&self.sequence);
        Ok(Box::new(FileReader::open(sequence, self.options.clone(), position, framing)?))
    }
}
