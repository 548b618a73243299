//! The rows of a key of a Bag that has many: a B-tree whose leaves are packed groups.
//!
//! A leaf holds the rows from its bound up to the next leaf's. Its rows are found by looking through it, which for leaves of
//! this size is as fast as a comparison of pointers, and a row costs no allocation of its own.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::ops::Bound;

use super::group::{self, Added, PackedRows};
use crate::base::Result;

/// A leaf beyond this many bytes is cut in two, unless it is a single row.
const LEAF_MAX: usize = 2048;

/// What a leaf costs beside its rows and its bound: its share of a node.
const LEAF: usize = 64;

/// The rows of a key that has many.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// By the bound below which it has no rows.
    leaves: BTreeMap<Box<[u8]>, Leaf>,
    rows: usize,
    bytes: usize,
}

/// Neighbouring rows.
#[derive(Debug, Default)]
struct Leaf {
    /// Never empty.
    rows: Vec<u8>,
    /// Whether rows of it may have changed since the last cut.
    dirty: bool,
}

impl Leaf {
    fn bytes(&self) -> usize {
        self.rows.capacity() + LEAF
    }
}

impl Tree {
    /// The packed group `buffer` as a tree.
    pub(super) fn from_packed(buffer: &[u8]) -> Tree {
        let mut tree = Tree { rows: group::packed_rows(buffer).count(), ..Tree::default() };
        let (mut rest, mut bound) = (buffer.to_vec(), Vec::new());
        while group::outgrown(&rest, LEAF_MAX) {
            let upper = rest.split_off(group::half(&rest, false));
            let next = first_row(&upper).to_vec();
            tree.insert(std::mem::replace(&mut bound, next), std::mem::replace(&mut rest, upper));
        }
        tree.insert(bound, rest);
        tree
    }

    /// A new leaf; as it may have changed since the last cut, it counts as such.
    fn insert(&mut self, bound: Vec<u8>, mut rows: Vec<u8>) {
        rows.shrink_to_fit();
        let leaf = Leaf { rows, dirty: true };
        self.bytes += bound.len() + leaf.bytes();
        self.leaves.insert(bound.into(), leaf);
    }

    /// How many rows.
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// About how many bytes it holds.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn weight(&self, row: &[u8]) -> i64 {
        let leaf = self.leaves.range::<[u8], _>((Bound::Unbounded, Bound::Included(row))).next_back();
        leaf.map_or(0, |(_, leaf)| group::packed_weight(&leaf.rows, row))
    }

    /// All rows, in order.
    pub(super) fn rows(&self) -> TreeRows<'_> {
        TreeRows { leaf: group::packed_rows(&[]), later: self.leaves.range::<[u8], _>(..) }
    }

    /// The rows not below `from`, and maybe some that are.
    pub(super) fn rows_about(&self, from: &[u8]) -> TreeRows<'_> {
        let first = self.leaves.range::<[u8], _>((Bound::Unbounded, Bound::Included(from))).next_back();
        let begin = first.map_or(Bound::Unbounded, |(bound, _)| Bound::Included(&**bound));
        TreeRows { leaf: group::packed_rows(&[]), later: self.leaves.range::<[u8], _>((begin, Bound::Unbounded)) }
    }

    /// All rows, the last one first.
    pub(super) fn rows_back(&self) -> impl Iterator<Item = (&[u8], i64)> {
        back(self.leaves.range::<[u8], _>(..))
    }

    /// The rows below `bound`, the last one first.
    pub(super) fn rows_back_below<'a>(&'a self, bound: &[u8]) -> impl Iterator<Item = (&'a [u8], i64)> {
        let leaves = self.leaves.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(bound)));
        back(leaves).skip_while(move |(row, _)| *row >= bound)
    }

    /// As [`group::add_packed`].
    pub(super) fn add(&mut self, row: &[u8], weight: i64, stored: bool) -> Result<Added> {
        let mut below = self.leaves.range_mut::<[u8], _>((Bound::Unbounded, Bound::Included(row)));
        let Some((bound, leaf)) = below.next_back() else {
            let mut rows = Vec::new();
            let added = group::add_packed(&mut rows, 0, row, weight, stored)?;
            self.rows += 1;
            self.insert(Vec::new(), rows);
            return Ok(added);
        };
        let (before, end) = (leaf.bytes(), leaf.rows.len());
        let added = group::add_packed(&mut leaf.rows, 0, row, weight, stored)?;
        leaf.dirty |= !stored;
        self.rows = self.rows.saturating_add_signed(added.rows);
        if leaf.rows.is_empty() {
            self.bytes -= before + bound.len();
            let bound = bound.clone();
            self.leaves.remove(&bound);
        } else if group::outgrown(&leaf.rows, LEAF_MAX) {
            let last_came = &leaf.rows[leaf.rows.len() - row.len()..] == row && leaf.rows.len() > end;
            let upper = leaf.rows.split_off(group::half(&leaf.rows, last_came));
            leaf.rows.shrink_to_fit();
            self.bytes = self.bytes + leaf.bytes() - before;
            self.insert(first_row(&upper).to_vec(), upper);
        } else {
            self.bytes = self.bytes + leaf.bytes() - before;
        }
        Ok(added)
    }

    /// As [`group::take_dirty_packed`].
    pub(super) fn take_dirty(&mut self, mut each: impl FnMut(&[u8], i64)) {
        for leaf in self.leaves.values_mut().filter(|leaf| leaf.dirty) {
            leaf.dirty = false;
            group::take_dirty_packed(&mut leaf.rows, 0, &mut each);
        }
    }

    /// As [`group::each_packed`].
    pub(super) fn each(&self, mut each: impl FnMut(&[u8], i64, bool)) {
        self.leaves.values().for_each(|leaf| group::each_packed(&leaf.rows, &mut each));
    }
}

fn first_row(rows: &[u8]) -> &[u8] {
    group::packed_rows(rows).next().map_or(&[], |(row, _)| row)
}

fn back<'a>(leaves: btree_map::Range<'a, Box<[u8]>, Leaf>) -> impl Iterator<Item = (&'a [u8], i64)> {
    leaves.rev().flat_map(|(_, leaf)| {
        let rows: Vec<(&[u8], i64)> = group::packed_rows(&leaf.rows).collect();
        rows.into_iter().rev()
    })
}

/// Iterator over a tree's rows, in order.
#[derive(Clone, Debug)]
pub(super) struct TreeRows<'a> {
    leaf: PackedRows<'a>,
    later: btree_map::Range<'a, Box<[u8]>, Leaf>,
}

impl<'a> Iterator for TreeRows<'a> {
    type Item = (&'a [u8], i64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.leaf.next() {
                return Some(row);
            }
            self.leaf = group::packed_rows(&self.later.next()?.1.rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Tree;
    use crate::base::random::Random;
    use crate::state::group;

    #[test]
    fn a_tree_is_a_sorted_multiset() {
        for seed in 0..20 {
            let mut random = Random::new(seed);
            let mut packed = Vec::new();
            let mut model: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
            // Short rows and long ones, up to some that fill more than a leaf.
            let longest = [8, 90, 5_000][seed as usize % 3];
            let row = |number: u32| {
                let mut row = number.to_be_bytes().to_vec();
                row.resize(4 + number as usize * 7919 % longest, number as u8);
                row
            };
            for number in 0..10 {
                group::add_packed(&mut packed, 0, &row(number), 1, false).unwrap();
                model.insert(row(number), 1);
            }
            let mut tree = Tree::from_packed(&packed);
            let mut stored = BTreeMap::new();
            for step in 0..6_000u32 {
                // Rows come in order, then at random; in the end they go.
                let number = if step < 1_500 { step } else { random.below(2_000) as u32 };
                let row = row(number);
                let weight = if step > 4_000 { -*model.get(&row).unwrap_or(&0) } else { random.between(-1, 2) };
                if weight != 0 {
                    let sum = model.get(&row).unwrap_or(&0) + weight;
                    model.insert(row.clone(), sum);
                    if sum == 0 {
                        model.remove(&row);
                    }
                    let added = tree.add(&row, weight, false).unwrap();
                    assert_eq!(added.weight, sum);
                    if added.deleted_stored {
                        assert!(stored.remove(&row).is_some());
                    }
                }
                if step % 500 == 0 {
                    tree.take_dirty(|row, weight| {
                        stored.insert(row.to_vec(), weight);
                    });
                    assert_eq!(stored, model);
                    agrees(&tree, &model, &row);
                }
            }
            agrees(&tree, &model, &row(1_000));
        }
    }

    fn agrees(tree: &Tree, model: &BTreeMap<Vec<u8>, i64>, bound: &[u8]) {
        let owned = |(row, weight): (&[u8], i64)| (row.to_vec(), weight);
        let pairs = |rows: &mut dyn Iterator<Item = (&Vec<u8>, &i64)>| -> Vec<(Vec<u8>, i64)> {
            rows.map(|(row, weight)| (row.clone(), *weight)).collect()
        };
        assert_eq!(tree.len(), model.len());
        assert_eq!(tree.rows().map(owned).collect::<Vec<_>>(), pairs(&mut model.iter()));
        assert_eq!(tree.rows_back().map(owned).collect::<Vec<_>>(), pairs(&mut model.iter().rev()));
        let below = tree.rows_back_below(bound).map(owned).collect::<Vec<_>>();
        assert_eq!(below, pairs(&mut model.range(..bound.to_vec()).rev()));
        let from = tree.rows_about(bound).filter(|(row, _)| *row >= bound).map(owned).collect::<Vec<_>>();
        assert_eq!(from, pairs(&mut model.range(bound.to_vec()..)));
        let leaves: usize = tree.leaves.iter().map(|(bound, leaf)| bound.len() + leaf.bytes()).sum();
        assert_eq!(tree.bytes(), leaves);
        for (row, weight) in model.iter().step_by(37) {
            assert_eq!(tree.weight(row), *weight);
        }
    }
}
