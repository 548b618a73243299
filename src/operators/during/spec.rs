//! The spec of `during`: rows while `now()` is within their bounds.

use serde::{Deserialize, Serialize};

use crate::base::{Error, Result};
use crate::state::TableSpec;
use crate::types::{Schema, SqlType};

/// Shows each row while `now()` is not below any of `from` and below all of `until`. A row with a bound that is NULL is
/// never shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DuringSpec {
    /// The schema of the input, and of port 0.
    pub input: Schema,
    /// Times from which the row is shown.
    pub from: Vec<ClockBound>,
    /// Times up to which it is.
    pub until: Vec<ClockBound>,
}

/// One bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockBound {
    /// The column of the time, a timestamp.
    pub column: usize,
    /// Whether the bound is the microsecond behind that time.
    pub after: bool,
}

impl DuringSpec {
    /// Fails when a bound is no timestamp.
    pub(super) fn check(&self) -> Result<()> {
        let known =
            |bound: &ClockBound| self.input.columns.get(bound.column).is_some_and(|column| column.ty.is_timestamp());
        match self.from.iter().chain(&self.until).all(known) {
            true => Ok(()),
            false => Err(Error::internal("now() is compared with a column that is no timestamp")),
        }
    }

    pub(in crate::operators) fn tables(&self) -> Result<Vec<TableSpec>> {
        self.check()?;
        Ok(vec![TableSpec::ordered("timers", vec![SqlType::Timestamp], self.input.types(), vec![SqlType::BigInt])])
    }

    /// Rows meet their retractions by all columns.
    pub(in crate::operators) fn partition(&self) -> Vec<usize> {
        (0..self.input.columns.len()).collect()
    }

    /// For EXPLAIN.
    pub(in crate::operators) fn detail(&self) -> String {
        let bound = |bound: &ClockBound, signs: [&str; 2]| {
            let name = self.input.columns.get(bound.column).map_or("?", |column| column.name.as_str());
            format!("now() {} {name}", signs[usize::from(bound.after)])
        };
        let from = self.from.iter().map(|b| bound(b, [">=", ">"]));
        from.chain(self.until.iter().map(|b| bound(b, ["<", "<="]))).collect::<Vec<_>>().join(" and ")
    }

    /// What bounds the state.
    pub(in crate::operators) fn bounded_by(&self) -> String {
        match self.until.is_empty() {
            true => "the rows whose time has not come".to_owned(),
            false => "the rows whose time is not up".to_owned(),
        }
    }
}
