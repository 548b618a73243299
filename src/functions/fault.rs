//! Faults as data: per row a reason why its value could not be computed, and what an evaluation hands back.

use arrow::array::ArrayRef;
use arrow::array::BooleanBufferBuilder;
use arrow::buffer::BooleanBuffer;

use crate::base::Error;
pub use crate::types::Reason;

/// PostgreSQL's words for 21000, of a sub-query that is a value.
pub const SEVERAL_ROWS: &str = "more than one row returned by a subquery used as an expression";

/// One faulted row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The row.
    pub row: u32,
    /// Why.
    pub reason: Reason,
}

/// The faulted rows of a batch: at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// Set where the row is faulted; as long as the batch.
    pub mask: BooleanBuffer,
    list: Vec<Fault>,
}

impl Faults {
    /// From faults in row order, for a batch of `rows` rows; `None` when there are none.
    pub fn new(rows: usize, list: Vec<Fault>) -> Option<Faults> {
        if list.is_empty() {
            return None;
        }
        debug_assert!(list.windows(2).all(|pair| pair[0].row < pair[1].row));
        let mut mask = BooleanBufferBuilder::new(rows);
        mask.append_n(rows, false);
        for fault in &list {
            mask.set_bit(fault.row as usize, true);
        }
        Some(Faults { mask: mask.finish(), list })
    }

    /// Why `row` is faulted; empty when it is not.
    pub fn reason(&self, row: usize) -> &str {
        self.get(row).map_or("", Reason::message)
    }

    /// The reason of `row`, if it is faulted.
    pub fn get(&self, row: usize) -> Option<&Reason> {
        let at = self.list.binary_search_by(|fault| (fault.row as usize).cmp(&row)).ok()?;
        Some(&self.list[at].reason)
    }

    /// The faults in row order.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.list.iter()
    }

    /// How many rows are faulted.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// The first fault, as an error.
    pub fn to_error(&self) -> Error {
        self.list.first().map_or_else(|| Error::internal("fault mask without faults"), |fault| fault.reason.to_error())
    }

    /// The faults of either; where both have one, the first's.
    pub fn union(first: Option<Faults>, second: Option<Faults>) -> Option<Faults> {
        match (first, second) {
            (Some(first), Some(second)) => {
                let rows = first.mask.len();
                Faults::new(rows, merge(first.list, second.list))
            }
            (first, second) => first.or(second),
        }
    }
}

/// The faults of either list, both in row order; where both have one, the first's.
pub(crate) fn merge(first: Vec<Fault>, second: Vec<Fault>) -> Vec<Fault> {
    if second.is_empty() {
        return first;
    }
    if first.is_empty() {
        return second;
    }
    let mut merged = Vec::with_capacity(first.len() + second.len());
    let mut second = second.into_iter().peekable();
    for fault in first {
        while let Some(other) = second.next_if(|other| other.row < fault.row) {
            merged.push(other);
        }
        second.next_if(|other| other.row == fault.row);
        merged.push(fault);
    }
    merged.extend(second);
    merged
}

/// What an expression gives for a batch: a value per row, and the rows that have none.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// A value per row, of the expression's type. The value of a faulted row is meaningless.
    pub values: ArrayRef,
    /// The faulted rows, if there are any.
    pub faults: Option<Faults>,
}

impl Evaluated {
    /// The values, or the first fault as an error: for statements that one bad row ends.
    pub fn all(self) -> crate::base::Result<ArrayRef> {
        match self.faults {
            None => Ok(self.values),
            Some(faults) => Err(faults.to_error()),
        }
    }
}
