//! Rows spread over the elements of their lists.

use arrow::array::{Array, ArrayRef, ListArray, UInt32Array};

use crate::base::Result;

/// Lists of a batch, spread.
pub(super) struct Spread {
    /// The row that each element belongs to.
    pub rows: Vec<u64>,
    /// The elements, a column per list; NULL behind the end of a list that is shorter than another.
    pub elements: Vec<ArrayRef>,
}

/// Every row as often as its longest list has elements: not at all if all are empty or NULL.
pub(super) fn spread(lists: &[&ListArray], rows: usize) -> Result<Spread> {
    let length = |list: &ListArray, row: usize| if list.is_valid(row) { list.value_length(row) as usize } else { 0 };
    let lengths = (0..rows).map(|row| lists.iter().map(|list| length(list, row)).max().unwrap_or(0));
    let lengths: Vec<usize> = lengths.collect();
    let total = lengths.iter().sum();
    let mut owners = Vec::with_capacity(total);
    for (row, &times) in lengths.iter().enumerate() {
        owners.extend(std::iter::repeat_n(row as u64, times));
    }
    let mut elements = Vec::with_capacity(lists.len());
    for list in lists {
        let mut picks = Vec::with_capacity(total);
        for (row, &times) in lengths.iter().enumerate() {
            let (start, own) = (list.value_offsets()[row] as u32, length(list, row));
            picks.extend((0..times).map(|at| (at < own).then(|| start + at as u32)));
        }
        elements.push(arrow::compute::take(list.values(), &UInt32Array::from(picks), None)?);
    }
    Ok(Spread { rows: owners, elements })
}
