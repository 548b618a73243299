//! The rows of a key of a Bag that has many: packed leaves in order, found through the first bytes of their first rows.
//!
//! ```text
//!  branches: [ heads: u64 u64 …  leaves: packed packed … ] [ … ]      heads: u64 u64 … (of the branches)
//! ```
//! A row's leaf is the last one whose first row is not above it. Comparisons read the heads, which lie side by side, and
//! rows only where heads are equal: in a big state every other place read is a cache miss. A leaf's rows are found by
//! looking through it, and a row costs no allocation of its own.

use std::slice;

use super::group::{self, Added, PackedRows};
use crate::base::Result;

/// A leaf beyond this many bytes is cut in two, unless it is a single row.
const LEAF_MAX: usize = 2048;

/// A branch beyond this many leaves is cut in two. Two levels do: a new branch moves those behind it once in some hundred
/// rows, which even for a hundred million rows of one key is a few microseconds a row.
const BRANCH_MAX: usize = 128;

/// What a leaf costs beside its rows.
const LEAF: usize = size_of::<Leaf>() + size_of::<u64>();

/// The rows of a key that has many.
#[derive(Debug, Default)]
pub(super) struct Tree {
    heads: Vec<u64>,
    /// None of them empty.
    branches: Vec<Branch>,
    rows: usize,
    bytes: usize,
}

/// Neighbouring leaves.
#[derive(Debug, Default)]
struct Branch {
    heads: Vec<u64>,
    leaves: Vec<Leaf>,
    /// Whether a leaf of it may have changed since the last cut.
    dirty: bool,
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
    /// A leaf of rows that may have changed since the last cut.
    fn new(mut rows: Vec<u8>) -> Leaf {
        rows.shrink_to_fit();
        Leaf { rows, dirty: true }
    }

    fn bytes(&self) -> usize {
        self.rows.capacity() + LEAF
    }

    fn first(&self) -> &[u8] {
        group::packed_rows(&self.rows).next().map_or(&[], |(row, _)| row)
    }
}

impl Branch {
    fn new(leaves: Vec<Leaf>) -> Branch {
        Branch { heads: leaves.iter().map(|leaf| head(leaf.first())).collect(), leaves, dirty: true }
    }

    fn first(&self) -> &[u8] {
        self.leaves.first().map_or(&[], Leaf::first)
    }

    /// The leaf where `row` is, or would be.
    fn place(&self, row: &[u8]) -> usize {
        place(&self.heads, row, |leaf| self.leaves[leaf].first())
    }
}

/// The first bytes of a row, ordered as rows are; rows with equal heads may differ.
fn head(row: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = row.len().min(8);
    bytes[..length].copy_from_slice(&row[..length]);
    u64::from_be_bytes(bytes)
}

/// The last of the places, by their heads and first rows, that does not begin above `row`; 0 when all do.
fn place<'a>(heads: &[u64], row: &[u8], first: impl Fn(usize) -> &'a [u8]) -> usize {
    let head = head(row);
    let mut begin = heads.partition_point(|other| *other < head);
    let mut end = begin + heads[begin..].partition_point(|other| *other == head);
    while begin < end {
        let middle = begin.midpoint(end);
        if first(middle) <= row { begin = middle + 1 } else { end = middle }
    }
    begin.saturating_sub(1)
}

impl Tree {
    /// The packed group `buffer` as a tree.
    pub(super) fn from_packed(buffer: &[u8]) -> Tree {
        let (mut rest, mut leaves) = (buffer.to_vec(), Vec::new());
        while group::outgrown(&rest, LEAF_MAX) {
            let upper = rest.split_off(group::half(&rest, false));
            leaves.push(Leaf::new(std::mem::replace(&mut rest, upper)));
        }
        leaves.push(Leaf::new(rest));
        let bytes = leaves.iter().map(Leaf::bytes).sum();
        let branch = Branch::new(leaves);
        Tree {
            heads: vec![head(branch.first())],
            branches: vec![branch],
            rows: group::packed_rows(buffer).count(),
            bytes,
        }
    }

    /// How many rows.
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// About how many bytes it holds.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The branch where `row` is, or would be.
    fn place(&self, row: &[u8]) -> usize {
        place(&self.heads, row, |branch| self.branches[branch].first())
    }

    pub(super) fn weight(&self, row: &[u8]) -> i64 {
        let Some(branch) = self.branches.get(self.place(row)) else { return 0 };
        group::packed_weight(&branch.leaves[branch.place(row)].rows, row)
    }

    /// All rows, in order.
    pub(super) fn rows(&self) -> TreeRows<'_> {
        TreeRows { leaf: group::packed_rows(&[]), leaves: [].iter(), branches: self.branches.iter() }
    }

    /// The rows not below `from`, and maybe some that are.
    pub(super) fn rows_about(&self, from: &[u8]) -> TreeRows<'_> {
        let mut rows = self.rows();
        rows.branches = self.branches.get(self.place(from)..).unwrap_or_default().iter();
        if let Some(branch) = rows.branches.next() {
            rows.leaves = branch.leaves[branch.place(from)..].iter();
        }
        rows
    }

    /// All rows, the last one first.
    pub(super) fn rows_back(&self) -> impl Iterator<Item = (&[u8], i64)> {
        back(self.branches.iter().rev().flat_map(|branch| branch.leaves.iter().rev()))
    }

    /// The rows below `bound`, the last one first.
    pub(super) fn rows_back_below<'a>(&'a self, bound: &[u8]) -> impl Iterator<Item = (&'a [u8], i64)> {
        let (below, at) = self.branches.split_at(self.place(bound).min(self.branches.len()));
        let at = at.first().map_or(&[][..], |branch| &branch.leaves[..=branch.place(bound)]);
        let leaves = at.iter().rev().chain(below.iter().rev().flat_map(|branch| branch.leaves.iter().rev()));
        back(leaves).skip_while(move |(row, _)| *row >= bound)
    }

    /// As [`group::add_packed`].
    pub(super) fn add(&mut self, row: &[u8], weight: i64, stored: bool) -> Result<Added> {
        let place = self.place(row);
        let Some(branch) = self.branches.get_mut(place) else {
            let mut rows = Vec::new();
            let added = group::add_packed(&mut rows, 0, row, weight, stored)?;
            *self = Tree::from_packed(&rows);
            return Ok(added);
        };
        let index = branch.place(row);
        let leaf = &mut branch.leaves[index];
        let (before, end) = (leaf.bytes(), leaf.rows.len());
        let added = group::add_packed(&mut leaf.rows, 0, row, weight, stored)?;
        leaf.dirty |= !stored;
        branch.dirty |= !stored;
        self.rows = self.rows.saturating_add_signed(added.rows);
        self.bytes -= before;
        if leaf.rows.is_empty() {
            branch.leaves.remove(index);
            branch.heads.remove(index);
        } else {
            if group::outgrown(&leaf.rows, LEAF_MAX) {
                let last_came = &leaf.rows[leaf.rows.len() - row.len()..] == row && leaf.rows.len() > end;
                let upper = Leaf::new(leaf.rows.split_off(group::half(&leaf.rows, last_came)));
                leaf.rows.shrink_to_fit();
                self.bytes += upper.bytes();
                branch.heads.insert(index + 1, head(upper.first()));
                branch.leaves.insert(index + 1, upper);
            }
            let leaf = &branch.leaves[index];
            branch.heads[index] = head(leaf.first());
            self.bytes += leaf.bytes();
        }
        self.tidy(place);
        Ok(added)
    }

    /// After a change of the branch: its head, and whether it must go or be cut in two.
    fn tidy(&mut self, place: usize) {
        let branch = &mut self.branches[place];
        if branch.leaves.is_empty() {
            self.branches.remove(place);
            self.heads.remove(place);
            return;
        }
        self.heads[place] = branch.heads[0];
        if branch.leaves.len() > BRANCH_MAX {
            let upper = Branch::new(branch.leaves.split_off(BRANCH_MAX / 2));
            branch.heads.truncate(BRANCH_MAX / 2);
            self.heads.insert(place + 1, upper.heads[0]);
            self.branches.insert(place + 1, upper);
        }
    }

    /// As [`group::take_dirty_packed`].
    pub(super) fn take_dirty(&mut self, mut each: impl FnMut(&[u8], i64)) {
        for branch in self.branches.iter_mut().filter(|branch| branch.dirty) {
            branch.dirty = false;
            for leaf in branch.leaves.iter_mut().filter(|leaf| leaf.dirty) {
                leaf.dirty = false;
                group::take_dirty_packed(&mut leaf.rows, 0, &mut each);
            }
        }
    }

    /// As [`group::each_packed`].
    pub(super) fn each(&self, mut each: impl FnMut(&[u8], i64, bool)) {
        let leaves = self.branches.iter().flat_map(|branch| &branch.leaves);
        leaves.for_each(|leaf| group::each_packed(&leaf.rows, &mut each));
    }
}

fn back<'a>(leaves: impl Iterator<Item = &'a Leaf>) -> impl Iterator<Item = (&'a [u8], i64)> {
    leaves.flat_map(|leaf| {
        let rows: Vec<(&[u8], i64)> = group::packed_rows(&leaf.rows).collect();
        rows.into_iter().rev()
    })
}

/// Iterator over a tree's rows, in order.
#[derive(Clone, Debug)]
pub(super) struct TreeRows<'a> {
    leaf: PackedRows<'a>,
    leaves: slice::Iter<'a, Leaf>,
    branches: slice::Iter<'a, Branch>,
}

impl<'a> Iterator for TreeRows<'a> {
    type Item = (&'a [u8], i64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.leaf.next() {
                return Some(row);
            }
            match self.leaves.next() {
                Some(leaf) => self.leaf = group::packed_rows(&leaf.rows),
                None => self.leaves = self.branches.next()?.leaves.iter(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{BRANCH_MAX, Leaf, Tree, head};
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
        assert_eq!(
            tree.bytes(),
            tree.branches.iter().flat_map(|branch| &branch.leaves).map(Leaf::bytes).sum::<usize>()
        );
        assert!(tree.branches.iter().all(|branch| !branch.leaves.is_empty() && branch.leaves.len() <= BRANCH_MAX));
        let heads = |leaves: &[Leaf]| leaves.iter().map(|leaf| head(leaf.first())).collect::<Vec<_>>();
        assert!(tree.branches.iter().all(|branch| branch.heads == heads(&branch.leaves)));
        assert_eq!(tree.heads, tree.branches.iter().map(|branch| branch.heads[0]).collect::<Vec<_>>());
        for (row, weight) in model.iter().step_by(37) {
            assert_eq!(tree.weight(row), *weight);
        }
    }
}
