//! The spec of `over`: functions over frames of ordered partitions.

use serde::{Deserialize, Serialize};

use crate::base::Result;
use crate::functions::{AggregateCall, Literal, Named};
use crate::operators::FreeOn;
use crate::operators::partition::RowOrder;
use crate::operators::spec::names;
use crate::types::{Column, Schema, SqlType};

/// Window functions. The output has the input's columns, then one per call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OverSpec {
    /// The schema of the input.
    pub input: Schema,
    /// Partitions, and the order in them.
    pub order: RowOrder,
    /// What is computed for each row.
    pub calls: Vec<OverCall>,
    /// When a partition's state is freed; its rows stay. As `TopSpec::free_on`.
    #[serde(default)]
    pub free_on: Option<FreeOn>,
}

/// One function over one frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OverCall {
    /// What is computed.
    pub function: OverFunction,
    /// Over which rows; functions that number or shift rows have none.
    pub frame: Frame,
    /// The type of the result.
    pub ty: SqlType,
}

/// A window function. Columns are those of the input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverFunction {
    /// row_number()
    RowNumber,
    /// rank()
    Rank,
    /// dense_rank()
    DenseRank,
    /// percent_rank()
    PercentRank,
    /// cume_dist()
    CumeDist,
    /// ntile(n), n above 0.
    Ntile(u64),
    /// lag and lead.
    Shift {
        /// The value.
        column: usize,
        /// How many rows before (lag); negative: behind (lead).
        by: i64,
        /// What stands where there is no such row; of the column's type.
        default: Option<Literal>,
        /// IGNORE NULLS.
        ignore_nulls: bool,
    },
    /// first_value, last_value and nth_value.
    Nth {
        /// The value.
        column: usize,
        /// Which row of the frame: from 1; negative: from its end. Not 0.
        place: i64,
        /// IGNORE NULLS.
        ignore_nulls: bool,
    },
    /// An aggregate.
    Aggregate(AggregateCall),
}

/// ROWS, RANGE or GROUPS between two bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// What is counted.
    pub units: Units,
    /// The first row.
    pub start: Bound,
    /// The last row.
    pub end: Bound,
}

/// What a frame counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Units {
    /// Rows.
    Rows,
    /// The value of the one order key.
    Range,
    /// Groups of peers.
    Groups,
}

/// Where a frame begins or ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// UNBOUNDED PRECEDING.
    First,
    /// n PRECEDING, rows or groups.
    Before(u64),
    /// x PRECEDING, by value.
    Below(Literal),
    /// CURRENT ROW: its peers too, unless rows are counted.
    Current,
    /// x FOLLOWING, by value.
    Above(Literal),
    /// n FOLLOWING, rows or groups.
    Behind(u64),
    /// UNBOUNDED FOLLOWING.
    Last,
}

impl Frame {
    /// The whole partition.
    pub const WHOLE: Frame = Frame { units: Units::Rows, start: Bound::First, end: Bound::Last };
}

impl OverFunction {
    /// Whether the aggregate `call` over rows of `input` can be computed over frames: it has no DISTINCT and no order of
    /// its own.
    pub fn can_move(call: &AggregateCall, input: Schema) -> Result<bool> {
        super::evaluate::moves(call, &input)
    }

    fn text(&self, input: &Schema) -> String {
        let name = |column: usize| names(input, &[column]);
        let nulls = |ignore: bool| if ignore { " ignore nulls" } else { "" };
        match self {
            OverFunction::RowNumber => "row_number()".to_owned(),
            OverFunction::Rank => "rank()".to_owned(),
            OverFunction::DenseRank => "dense_rank()".to_owned(),
            OverFunction::PercentRank => "percent_rank()".to_owned(),
            OverFunction::CumeDist => "cume_dist()".to_owned(),
            OverFunction::Ntile(buckets) => format!("ntile({buckets})"),
            OverFunction::Shift { column, by, ignore_nulls, .. } => {
                let word = if *by < 0 { "lead" } else { "lag" };
                format!("{word}({}, {}){}", name(*column), by.unsigned_abs(), nulls(*ignore_nulls))
            }
            OverFunction::Nth { column, place, ignore_nulls } => match place {
                1 => format!("first_value({}){}", name(*column), nulls(*ignore_nulls)),
                -1 => format!("last_value({}){}", name(*column), nulls(*ignore_nulls)),
                place => format!("nth_value({}, {place}){}", name(*column), nulls(*ignore_nulls)),
            },
            OverFunction::Aggregate(call) => {
                let named = |expr| Named { expr, input };
                let args: Vec<String> = call.args.iter().map(|arg| named(arg).to_string()).collect();
                let args = if args.is_empty() { "*".to_owned() } else { args.join(", ") };
                let filter = call.filter.as_ref().map_or_else(String::new, |f| format!(" filter (where {})", named(f)));
                format!("{}({args}){filter}", call.function.name())
            }
        }
    }

    /// Whether the frame says what it sees.
    fn has_frame(&self) -> bool {
        match self {
            OverFunction::Nth { .. } | OverFunction::Aggregate(_) => true,
            OverFunction::RowNumber
            | OverFunction::Rank
            | OverFunction::DenseRank
            | OverFunction::PercentRank
            | OverFunction::CumeDist
            | OverFunction::Ntile(_)
            | OverFunction::Shift { .. } => false,
        }
    }
}

impl Frame {
    fn text(&self) -> String {
        let units = match self.units {
            Units::Rows => "rows",
            Units::Range => "range",
            Units::Groups => "groups",
        };
        let bound = |bound: &Bound| match bound {
            Bound::First => "first".to_owned(),
            Bound::Before(rows) => format!("-{rows}"),
            Bound::Below(value) => format!("-{value}"),
            Bound::Current => "current".to_owned(),
            Bound::Above(value) => format!("+{value}"),
            Bound::Behind(rows) => format!("+{rows}"),
            Bound::Last => "last".to_owned(),
        };
        format!(" {units} {}..{}", bound(&self.start), bound(&self.end))
    }
}

impl OverSpec {
    /// The schema of port 0.
    pub(in crate::operators) fn output(&self) -> Schema {
        let mut columns = self.input.columns.clone();
        let call = |(i, call): (usize, &OverCall)| Column::new(format!("over_{i}"), call.ty.clone());
        columns.extend(self.calls.iter().enumerate().map(call));
        Schema::new(columns)
    }

    /// For EXPLAIN.
    pub(in crate::operators) fn detail(&self) -> String {
        let call = |call: &OverCall| {
            let frame = if call.function.has_frame() { call.frame.text() } else { String::new() };
            format!("{}{frame}", call.function.text(&self.input))
        };
        let calls: Vec<String> = self.calls.iter().map(call).collect();
        format!("{}{}", calls.join(", "), self.order.detail(&self.input))
    }

    /// What bounds the state.
    pub(in crate::operators) fn bounded_by(&self) -> String {
        let mut text = "the rows of the input".to_owned();
        if let Some(free) = &self.free_on {
            text.push_str(&free.text(&self.input, &self.order));
        }
        text
    }
}
