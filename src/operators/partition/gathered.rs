//! What an epoch changes of partitions: gathered as it comes, put in order when the epoch ends.

use crate::base::{Error, Result};
use crate::types::{EncodedRows, Weights};

/// (partition, row, weight)s of the open epoch.
#[derive(Default)]
pub(in crate::operators) struct Gathered {
    keys: EncodedRows,
    rows: EncodedRows,
    weights: Vec<i64>,
    /// Partitions that changed, once [`Gathered::sort`] has run.
    touched: Vec<Touched>,
    /// Row numbers and summed weights by (partition, row), for `touched`.
    changes: Vec<(u32, i64)>,
}

/// The changes of one partition.
#[derive(Clone, Copy, Debug)]
pub(in crate::operators) struct Touched {
    from: usize,
    to: usize,
}

impl Gathered {
    /// Takes in rows side by side.
    pub fn add(&mut self, keys: &EncodedRows, rows: &EncodedRows, weights: &Weights) -> Result<()> {
        if self.weights.len().checked_add(keys.len()).is_none_or(|most| u32::try_from(most).is_err()) {
            return Err(Error::limit("more than 4294967295 rows changed in one epoch"));
        }
        for (i, (key, row)) in keys.iter().zip(rows.iter()).enumerate() {
            self.keys.push(key);
            self.rows.push(row);
            self.weights.push(weights.get(i));
        }
        Ok(())
    }

    /// How many rows are held.
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    /// Keeps of each partition the first rows, until they add up to `count`. For rows without retractions, of which those
    /// behind can never be among the first `count` again.
    pub fn keep_first(&mut self, count: i64) {
        self.sort();
        let mut kept = Gathered::default();
        for &touched in &self.touched {
            let mut before = 0i64;
            for (row, weight) in self.changes(touched) {
                if before >= count {
                    break;
                }
                before = before.saturating_add(weight);
                kept.keys.push(self.key(touched));
                kept.rows.push(row);
                kept.weights.push(weight);
            }
        }
        *self = kept;
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        self.keys.bytes()
            + self.rows.bytes()
            + self.weights.capacity() * 8
            + self.touched.capacity() * size_of::<Touched>()
            + self.changes.capacity() * size_of::<(u32, i64)>()
    }

    /// Adds up equal rows and finds the partitions that changed, in the order of their keys.
    pub fn sort(&mut self) {
        let mut order: Vec<u32> = (0..self.weights.len() as u32).collect();
        let place = |&i: &u32| (self.keys.row(i as usize), self.rows.row(i as usize));
        order.sort_unstable_by(|a, b| place(a).cmp(&place(b)));
        self.changes.clear();
        for &i in &order {
            let weight = self.weights[i as usize];
            match self.changes.last_mut() {
                Some((last, sum)) if place(last) == place(&i) => *sum = sum.saturating_add(weight),
                _ => self.changes.push((i, weight)),
            }
        }
        self.changes.retain(|(_, weight)| *weight != 0);
        self.touched.clear();
        for (at, (i, _)) in self.changes.iter().enumerate() {
            match self.touched.last_mut() {
                Some(last) if self.keys.row(self.changes[last.from].0 as usize) == self.keys.row(*i as usize) => {
                    last.to = at + 1;
                }
                _ => self.touched.push(Touched { from: at, to: at + 1 }),
            }
        }
    }

    /// The partitions that changed.
    pub fn touched(&self) -> &[Touched] {
        &self.touched
    }

    /// The key of a partition.
    pub fn key(&self, touched: Touched) -> &[u8] {
        self.keys.row(self.changes[touched.from].0 as usize)
    }

    /// The keys of partitions.
    pub fn keys(&self, touched: &[Touched]) -> EncodedRows {
        let mut keys = EncodedRows::with_capacity(touched.len(), 0);
        touched.iter().for_each(|touched| keys.push(self.key(*touched)));
        keys
    }

    /// What changes in a partition: rows in order, with their weights, none of which is 0.
    pub fn changes(&self, touched: Touched) -> impl DoubleEndedIterator<Item = (&[u8], i64)> {
        let changes = &self.changes[touched.from..touched.to];
        changes.iter().map(|&(i, weight)| (self.rows.row(i as usize), weight))
    }

    /// Forgets the epoch.
    pub fn clear(&mut self) {
        *self = Gathered::default();
    }
}
