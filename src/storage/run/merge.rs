//! Reading several runs as one: of equal keys the newest run's entry counts.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::{RunEntries, RunEntry};
use crate::base::Result;

/// The entries of several runs as one sorted sequence. Ends after the first error.
pub struct MergedRuns {
    /// By age, newest first.
    inputs: Vec<RunEntries>,
    /// The next entry of every input that has one; the smallest key of the newest run on top.
    heads: BinaryHeap<Head>,
    /// Whether deletions are left out.
    only_present: bool,
    failed: Option<crate::base::Error>,
}

struct Head {
    entry: RunEntry,
    age: usize,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        // A `BinaryHeap` gives the largest first.
        (&other.entry.0, other.age).cmp(&(&self.entry.0, self.age))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}

/// Merges `inputs`, given newest first. Deletions are given too: see [`MergedRuns::only_present`].
pub fn merge_runs(inputs: Vec<RunEntries>) -> MergedRuns {
    let heads = BinaryHeap::with_capacity(inputs.len());
    let mut merged = MergedRuns { inputs, heads, only_present: false, failed: None };
    for age in 0..merged.inputs.len() {
        merged.refill(age);
    }
    merged
}

impl MergedRuns {
    /// Leaves deletions out: right when the oldest run there is takes part.
    pub fn only_present(mut self) -> MergedRuns {
        self.only_present = true;
        self
    }

    fn refill(&mut self, age: usize) {
        match self.inputs.get_mut(age).and_then(Iterator::next) {
            None => {}
            Some(Ok(entry)) => self.heads.push(Head { entry, age }),
            Some(Err(error)) => {
                self.heads.clear();
                self.failed.get_or_insert(error);
            }
        }
    }
}

impl Iterator for MergedRuns {
    type Item = Result<RunEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(error) = self.failed.take() {
                self.heads.clear();
                self.inputs.clear();
                return Some(Err(error));
            }
            let head = self.heads.pop()?;
            self.refill(head.age);
            while let Some(older) = self.heads.peek()
                && older.entry.0 == head.entry.0
            {
                let age = older.age;
                self.heads.pop();
                self.refill(age);
            }
            if self.failed.is_none() && (head.entry.1.is_some() || !self.only_present) {
                return Some(Ok(head.entry));
            }
        }
    }
}
