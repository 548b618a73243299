//! Writing runs: entries in, a durable SST file out.

use std::path::Path;
use std::sync::OnceLock;

use rocksdb::{BlockBasedOptions, ChecksumType, DBCompressionType, Options, SstFileWriter};

use super::{RunFile, tag_value};
use crate::base::{Error, Result};

/// Writes one run from entries that come in ascending order.
pub struct RunWriter {
    writer: SstFileWriter<'static>,
    path: std::path::PathBuf,
    name: String,
    entries: u64,
    /// The newest key, to refuse one that does not follow.
    last: Vec<u8>,
    /// The value with its tag; kept for its memory.
    value: Vec<u8>,
}

/// How runs are laid out. Not compressed: two compression libraries fewer between us and our state, and a worker's
/// core is worth more than its disk; format version 2, the oldest that RocksDB writes and reads, has the simplest
/// index, and [`super::RunReader`] reads no other.
fn options() -> &'static Options {
    static OPTIONS: OnceLock<Options> = OnceLock::new();
    OPTIONS.get_or_init(|| {
        let mut table = BlockBasedOptions::default();
        table.set_format_version(2);
        table.set_block_size(32 << 10);
        table.set_checksum_type(ChecksumType::XXH3);
        let mut options = Options::default();
        options.set_block_based_table_factory(&table);
        options.set_compression_type(DBCompressionType::None);
        options
    })
}

impl RunWriter {
    /// Begins the run `name` in the folder `dir`.
    pub fn create(dir: &Path, name: &str) -> Result<RunWriter> {
        let path = dir.join(name);
        let writer = SstFileWriter::create(options());
        writer.open(&path).map_err(|error| write_error(&path, &error))?;
        Ok(RunWriter { writer, path, name: name.to_owned(), entries: 0, last: Vec::new(), value: Vec::new() })
    }

    /// Adds an entry; its key must be larger than the one before.
    pub fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        if key <= self.last.as_slice() {
            return Err(Error::internal("entries of a run were not given in ascending order of their keys"));
        }
        self.last.clear();
        self.last.extend_from_slice(key);
        tag_value(&mut self.value, value);
        self.writer.put(key, &self.value).map_err(|error| write_error(&self.path, &error))?;
        self.entries += 1;
        Ok(())
    }

    /// Makes the file durable (its name is, once the manifest that names it is published). Without entries there is no
    /// file and no run.
    pub fn finish(mut self) -> Result<Option<RunFile>> {
        if self.entries == 0 {
            drop(self.writer);
            crate::storage::Disk::real().remove(&self.path)?;
            return Ok(None);
        }
        self.writer.finish().map_err(|error| write_error(&self.path, &error))?;
        Ok(Some(RunFile { name: self.name, bytes: self.writer.file_size(), entries: self.entries }))
    }
}

fn write_error(path: &Path, error: &rocksdb::Error) -> Error {
    Error::unavailable(format!("could not write \"{}\": {error}", path.display()))
        .with_code(crate::base::sqlstate::IO_ERROR)
        .with_hint("Make room on this disk or look at its health; the checkpoint is tried again.")
}

/// Entries whose keys share their first bytes.
#[derive(Clone, Debug)]
pub struct RunSection<K, V> {
    /// The first bytes of all keys ([`super::run_key_prefix`], and the table's number); no section's prefix may begin
    /// another's.
    pub prefix: Vec<u8>,
    /// The rest of each key, and its value; `None` deletes. In any order; of equal keys the last one counts.
    pub entries: Vec<(K, Option<V>)>,
}

/// Sorts `sections` and writes them as the run `name` in the folder `dir`. For a thread that may wait, not a worker's.
pub fn write_run<K, V>(dir: &Path, name: &str, mut sections: Vec<RunSection<K, V>>) -> Result<Option<RunFile>>
where
    K: AsRef<[u8]>,
    V: AsRef<[u8]>,
{
    sections.sort_by(|a, b| a.prefix.cmp(&b.prefix));
    let mut writer = RunWriter::create(dir, name)?;
    let mut key = Vec::new();
    for section in &mut sections {
        // Stable: of equal keys the last one given stays the last; and quick where sorted parts stand one after another.
        section.entries.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        let mut entries = section.entries.iter().peekable();
        while let Some((rest, value)) = entries.next() {
            if entries.peek().is_some_and(|(next, _)| next.as_ref() == rest.as_ref()) {
                continue;
            }
            key.clear();
            key.extend_from_slice(&section.prefix);
            key.extend_from_slice(rest.as_ref());
            writer.put(&key, value.as_ref().map(AsRef::as_ref))?;
        }
    }
    writer.finish()
}
