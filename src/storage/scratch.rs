//! Delta batches that wait on disk, first in, first out, and need not survive the process.
//!
//! They lie as [`encode_rows`] writes them in files without a name: whatever ends the process, nothing is left of them. A
//! file is given back as soon as all of it was read, so that a queue that never runs empty does not grow for ever.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use arrow::datatypes::SchemaRef;

use super::disk::io_error;
use super::{decode_rows, encode_rows};
use crate::base::{Error, Result};
use crate::types::DeltaBatch;

/// A file of at least so many bytes gets no further batches.
const FILE_BYTES: u64 = 64 << 20;

/// The queue. Whoever writes waits only for the kernel to take the bytes: nothing is synced.
#[derive(Debug)]
pub struct ScratchQueue {
    folder: PathBuf,
    limit_bytes: u64,
    bytes: u64,
    files: VecDeque<Waiting>,
}

/// A file and what of it waits.
#[derive(Debug)]
struct Waiting {
    file: File,
    read: u64,
    end: u64,
    entries: VecDeque<Entry>,
}

/// What was pushed at once: the lengths of its batches, which share a schema.
#[derive(Debug)]
struct Entry {
    lengths: Vec<usize>,
    schema: Option<SchemaRef>,
}

impl ScratchQueue {
    /// An empty queue whose files will lie in `folder`, of at most `limit_bytes` together.
    pub fn new(folder: PathBuf, limit_bytes: u64) -> Self {
        ScratchQueue { folder, limit_bytes, bytes: 0, files: VecDeque::new() }
    }

    /// Appends batches of one schema. `Limit` when the queue is full, `Unavailable` when the disk refuses; the queue is
    /// of no use then.
    pub fn push(&mut self, batches: &[DeltaBatch]) -> Result<()> {
        let mut entry = Entry { lengths: Vec::new(), schema: batches.first().map(|batch| batch.rows.schema()) };
        let open = match self.files.pop_back() {
            Some(last) if last.end < FILE_BYTES => last,
            full => {
                self.files.extend(full);
                self.create()?
            }
        };
        self.files.push_back(open);
        for batch in batches {
            let bytes = encode_rows(batch)?;
            self.bytes += bytes.len() as u64;
            if self.bytes > self.limit_bytes {
                return Err(Error::limit(format!("more than {} bytes wait on disk", self.limit_bytes)));
            }
            if let Some(last) = self.files.back_mut() {
                let written = last.file.write_all_at(&bytes, last.end);
                written.map_err(|error| io_error("write a file in", &self.folder, error))?;
                last.end += bytes.len() as u64;
            }
            entry.lengths.push(bytes.len());
        }
        if let Some(last) = self.files.back_mut() {
            last.entries.push_back(entry);
        }
        Ok(())
    }

    fn create(&self) -> Result<Waiting> {
        let file = fs::create_dir_all(&self.folder).and_then(|()| tempfile::tempfile_in(&self.folder));
        let file = file.map_err(|error| io_error("make a file in", &self.folder, error))?;
        Ok(Waiting { file, read: 0, end: 0, entries: VecDeque::new() })
    }

    /// What was pushed first. `Internal` when nothing waits.
    pub fn pop(&mut self) -> Result<Vec<DeltaBatch>> {
        let first = self.files.front_mut().and_then(|first| first.entries.pop_front().map(|entry| (first, entry)));
        let Some((first, entry)) = first else { return Err(Error::internal("nothing waits on disk")) };
        let mut batches = Vec::with_capacity(entry.lengths.len());
        if let Some(schema) = &entry.schema {
            for length in entry.lengths {
                let mut bytes = vec![0; length];
                let read = first.file.read_exact_at(&mut bytes, first.read);
                read.map_err(|error| io_error("read a file in", &self.folder, error))?;
                first.read += length as u64;
                self.bytes -= length as u64;
                batches.push(decode_rows(&bytes, schema)?);
            }
        }
        if first.entries.is_empty() {
            self.files.pop_front();
        }
        Ok(batches)
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch, StringArray};

    use super::*;
    use crate::types::{Column, Schema, SqlType};

    fn batch(first: i64, rows: usize) -> DeltaBatch {
        let columns = vec![Column::new("n", SqlType::BigInt), Column::new("t", SqlType::Varchar)];
        let numbers: Vec<i64> = (first..).take(rows).collect();
        let texts: StringArray = numbers.iter().map(|n| (n % 3 != 0).then(|| n.to_string().repeat(50))).collect();
        let columns_of: Vec<arrow::array::ArrayRef> = vec![Arc::new(Int64Array::from(numbers)), Arc::new(texts)];
        let batch = RecordBatch::try_new(Schema::new(columns).arrow(), columns_of).unwrap();
        let weights = (0..rows).map(|row| if row % 2 == 0 { 1 } else { -1 }).collect();
        DeltaBatch::new(batch, weights).unwrap()
    }

    #[test]
    fn what_was_pushed_first_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let mut queue = ScratchQueue::new(folder.path().join("scratch"), 1 << 40);
        let sets: Vec<Vec<DeltaBatch>> = (0..40).map(|i| (0..i % 4).map(|j| batch(i * j, 300)).collect()).collect();
        for round in 0..3 {
            for (i, set) in sets.iter().enumerate() {
                queue.push(set).unwrap();
                if i % 3 == round {
                    queue.push(&sets[5]).unwrap();
                }
            }
            for (i, set) in sets.iter().enumerate() {
                let popped = queue.pop().unwrap();
                assert_eq!(popped.len(), set.len());
                assert!(popped.iter().zip(set).all(|(a, b)| a.rows == b.rows && a.weights == b.weights));
                if i % 3 == round {
                    assert_eq!(queue.pop().unwrap().len(), sets[5].len());
                }
            }
            assert_eq!(queue.bytes(), 0);
            assert!(queue.pop().is_err());
        }
        // The files have no names.
        assert_eq!(fs::read_dir(folder.path().join("scratch")).unwrap().count(), 0);
    }

    #[test]
    fn files_that_were_read_are_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut queue = ScratchQueue::new(folder.path().to_owned(), 1 << 40);
        let large = [batch(0, 20_000)];
        queue.push(&large).unwrap();
        let each = queue.bytes();
        for _ in 0..3 * FILE_BYTES / each {
            queue.push(&large).unwrap();
            assert_eq!(queue.pop().unwrap()[0].rows, large[0].rows);
            assert!(queue.files.len() <= 2);
        }
        assert_eq!(queue.bytes(), each);
    }

    #[test]
    fn a_full_queue_and_a_missing_disk_say_so() {
        let folder = tempfile::tempdir().unwrap();
        let mut queue = ScratchQueue::new(folder.path().to_owned(), 1000);
        assert_eq!(queue.push(&[batch(0, 300)]).unwrap_err().to_string(), "more than 1000 bytes wait on disk");
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = ScratchQueue::new(file, 1000).push(&[batch(0, 1)]).unwrap_err();
        assert!(error.to_string().starts_with("could not make a file in"), "{error}");
    }
}
