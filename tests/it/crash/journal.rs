//! What a client tried, what was acknowledged to it, and what it was shown: one line each.
//!
//! `try 17 put 4 99` · `ack 17` · `gone 17` (the verifier found that it did not happen) · `shown 812`. Only the server is
//! killed, so a line is safe once it has been written.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

/// One client's journal.
pub struct Journal {
    path: PathBuf,
    file: File,
    next: u64,
}

/// How an entry ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was acknowledged.
    Acknowledged,
    /// The server was killed before it answered.
    Open,
    /// It did not happen, as the verifier found.
    Gone,
}

/// One thing that was tried.
#[derive(Clone, Debug)]
pub struct Entry {
    pub number: u64,
    pub words: Vec<String>,
    pub ending: Ending,
}

impl Entry {
    pub fn word(&self, i: usize) -> &str {
        self.words.get(i).map_or("", String::as_str)
    }

    pub fn value(&self, i: usize) -> i64 {
        self.word(i).parse().unwrap()
    }
}

impl Journal {
    pub fn open(path: PathBuf) -> Journal {
        let file = File::options().create(true).append(true).open(&path).unwrap();
        let next = entries(&path).last().map_or(1, |entry| entry.number + 1);
        Journal { path, file, next }
    }

    fn line(&mut self, text: &str) {
        self.file.write_all(format!("{text}\n").as_bytes()).unwrap();
    }

    /// Notes what is about to be tried; its number.
    pub fn attempt(&mut self, what: &str) -> u64 {
        let number = self.next;
        self.next += 1;
        self.line(&format!("try {number} {what}"));
        number
    }

    pub fn acknowledged(&mut self, number: u64) {
        self.line(&format!("ack {number}"));
    }

    pub fn gone(&mut self, number: u64) {
        self.line(&format!("gone {number}"));
    }

    pub fn shown(&mut self, what: &str, value: i64) {
        self.line(&format!("shown {what} {value}"));
    }

    pub fn entries(&self) -> Vec<Entry> {
        entries(&self.path)
    }

    /// The last value of `what` that was shown.
    pub fn last_shown(&self, what: &str) -> i64 {
        let text = std::fs::read_to_string(&self.path).unwrap();
        let prefix = format!("shown {what} ");
        text.lines().filter_map(|line| line.strip_prefix(&prefix)?.parse().ok()).next_back().unwrap_or(0)
    }
}

fn entries(path: &PathBuf) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
        let mut words = line.split_whitespace().map(String::from);
        let (kind, number) = (words.next().unwrap(), words.next().unwrap());
        let ending = match kind.as_str() {
            "try" => {
                let number = number.parse().unwrap();
                entries.push(Entry { number, words: words.collect(), ending: Ending::Open });
                continue;
            }
            "ack" => Ending::Acknowledged,
            "gone" => Ending::Gone,
            _ => continue,
        };
        let number: u64 = number.parse().unwrap();
        let entry = entries.iter_mut().rev().find(|entry| entry.number == number);
        entry.expect("tried before it ended").ending = ending;
    }
    entries
}
