//! The spec of `aggregate`: keys, calls, and when a group's row is shown.

use serde::{Deserialize, Serialize};

use crate::base::{Error, Result};
use crate::functions::{AggregateCall, Aggregates, Keeping, Named};
use crate::operators::spec::names;
use crate::types::{Column, Schema};

/// GROUP BY `keys` with aggregate `calls`. The output has the keys, then a column per call, named as its function.
///
/// Without keys there is one group, which has a row even over empty input, from the first epoch's end on; such an
/// aggregate runs as one subtask. With keys and without calls it is DISTINCT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AggregateSpec {
    /// The schema of the input.
    pub input: Schema,
    /// The columns to group by.
    pub keys: Vec<usize>,
    /// What is computed per group.
    pub calls: Vec<AggregateCall>,
    /// Whether the input never retracts; then min and max need no multiset.
    pub append_only: bool,
    /// When a group's row is shown.
    pub emit: Emit,
    /// With [`Emit::Changes`]: the place in `keys` of a window's end (a timestamp). A group's state is freed once the
    /// watermark has reached it; its row stays. Only for input that a gate has passed: a delta for a freed group breaks
    /// the gate's promise and stops the job.
    #[serde(default)]
    pub free_on: Option<usize>,
}

/// When a group's row is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Emit {
    /// At every epoch's end that changed it.
    Changes,
    /// Once, final, when the watermark has reached its window's end; input and state as with `free_on`.
    WindowClose {
        /// The place in `keys` of the window's end, a timestamp.
        key: usize,
    },
}

impl AggregateSpec {
    /// The place in `keys` of the window's end by which state is freed.
    pub(super) fn window(&self) -> Option<usize> {
        match self.emit {
            Emit::Changes => self.free_on,
            Emit::WindowClose { key } => Some(key),
        }
    }

    /// The key columns.
    pub(super) fn key_schema(&self) -> Schema {
        self.input.project(&self.keys)
    }

    /// The schema of port 0.
    pub(in crate::operators) fn output(&self) -> Result<Schema> {
        let mut columns = self.key_schema().columns;
        if columns.len() != self.keys.len() {
            return Err(Error::internal(format!("group keys {:?} of {} columns", self.keys, self.input.columns.len())));
        }
        if let Some(place) = self.window()
            && !columns.get(place).is_some_and(|column| column.ty.is_timestamp())
        {
            return Err(Error::internal(format!("group key {place} should be a window's end, a timestamp")));
        }
        columns.extend(self.calls.iter().map(|call| {
            let nullable = !call.function.is_count();
            Column { name: call.function.name().to_owned(), ty: call.ty.clone(), nullable }
        }));
        Ok(Schema::new(columns))
    }

    /// For EXPLAIN.
    pub(in crate::operators) fn detail(&self) -> String {
        let calls: Vec<String> = self.calls.iter().map(|call| self.call_text(call)).collect();
        let mut text = match (self.keys.is_empty(), calls.is_empty()) {
            (_, true) => "distinct".to_owned(),
            (_, false) => calls.join(", "),
        };
        if !self.keys.is_empty() {
            text.push_str(&format!(" by ({})", names(&self.input, &self.keys)));
        }
        match self.emit {
            Emit::Changes => {}
            Emit::WindowClose { .. } => text.push_str(" on window close"),
        }
        if self.append_only {
            text.push_str(", append-only");
        }
        let folded = self.calls_that(|keeping| match keeping {
            Keeping::Multiset { .. } => true,
            Keeping::Accumulator | Keeping::Distinct { .. } | Keeping::Extreme { .. } => false,
        });
        if !folded.is_empty() {
            text.push_str(&format!("; anew per changed group: {folded}"));
        }
        text
    }

    fn call_text(&self, call: &AggregateCall) -> String {
        call.text(|expr| Named { expr, input: &self.input }.to_string())
    }

    /// The calls whose kept rows are of the kind that `of` says.
    fn calls_that(&self, of: impl Fn(&Keeping) -> bool) -> String {
        let Ok(aggregates) = Aggregates::new(&self.calls, &self.input, self.append_only) else { return String::new() };
        let keeping = aggregates.keeping();
        let names = self.calls.iter().zip(&keeping).filter(|(_, keeping)| of(keeping));
        names.map(|(call, _)| self.call_text(call)).collect::<Vec<_>>().join(", ")
    }

    /// What bounds the state.
    pub(in crate::operators) fn bounded_by(&self) -> String {
        if self.keys.is_empty() {
            return self.with_values("one row".to_owned());
        }
        let groups = match self.window().and_then(|place| self.keys.get(place)) {
            Some(&end) => format!(
                "groups ({}) whose {} the watermark has not reached",
                names(&self.input, &self.keys),
                names(&self.input, &[end])
            ),
            None => format!("groups ({})", names(&self.input, &self.keys)),
        };
        self.with_values(groups)
    }

    fn with_values(&self, mut text: String) -> String {
        let kept = self.calls_that(|keeping| match keeping {
            Keeping::Distinct { .. } | Keeping::Extreme { .. } | Keeping::Multiset { .. } => true,
            Keeping::Accumulator => false,
        });
        if !kept.is_empty() {
            text.push_str(&format!(", and the distinct rows in each that {kept} read"));
        }
        text
    }
}
