//! How far a sequence of files has been read, as text.
//!
//! `{file:010}:{place:020}:{name}`: the file's index in the sequence, the byte offset (or the row, in files that frame
//! themselves), and the file's name, by which a changed sequence is noticed. Worked value: byte 512 of the second file,
//! `data/b.ndjson`, is `0000000001:00000000000000000512:data/b.ndjson`. The position before the first file has no name.

use crate::base::{Error, Result};
use crate::connectors::Place;
use crate::types::Position;

/// A parsed position of a file source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePosition {
    /// Index of the file in the sequence.
    pub file: usize,
    /// Byte offset, or row.
    pub place: u64,
    /// The file's path as the source lists it; empty before the first file.
    pub name: String,
}

impl FilePosition {
    /// Before everything.
    pub fn start() -> Self {
        FilePosition { file: 0, place: 0, name: String::new() }
    }

    /// From its text. `Corrupt` when it is none.
    pub fn parse(position: &Position) -> Result<Self> {
        let torn = || {
            Error::corrupt(format!("position \"{position}\" is none of a file source"))
                .with_detail("Expected the index of the file, a byte offset and a file name, joined by colons.")
        };
        let mut parts = position.0.splitn(3, ':');
        let file = parts.next().and_then(|text| text.parse().ok()).ok_or_else(torn)?;
        let place = parts.next().and_then(|text| text.parse().ok()).ok_or_else(torn)?;
        let name = parts.next().ok_or_else(torn)?.to_owned();
        Ok(FilePosition { file, place, name })
    }

    /// Its text.
    pub fn position(&self) -> Position {
        place_in(self.file, self.place, &self.name).position(0)
    }
}

/// The place `place` in file `file` called `name`.
pub(super) fn place_in(file: usize, place: u64, name: &str) -> Place {
    Place::new(format!("{file:010}:"), place, format!(":{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_text() {
        let position = FilePosition { file: 1, place: 512, name: "data/b:c.ndjson".into() };
        let text = position.position();
        assert_eq!(text.0, "0000000001:00000000000000000512:data/b:c.ndjson");
        assert_eq!(FilePosition::parse(&text).unwrap(), position);
        assert!(FilePosition::start().position() < text);
        assert!(FilePosition::parse(&Position("x".into())).is_err());
    }
}
