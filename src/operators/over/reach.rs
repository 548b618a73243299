//! How far a change reaches: which rows of a partition must be read, and which results may differ.

use super::span::Edges;
use super::spec::{Bound, Frame, OverFunction, OverSpec, Units};
use crate::base::Result;
use crate::state::BagTable;
use crate::types::EncodedRows;

/// How far a change reaches, over all calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// A result depends on so many rows before and behind its own.
    Rows { before: usize, behind: usize },
    /// A result depends on rows whose order key lies near its own: see [`super::span`].
    Values,
    /// A result depends on all rows before its own, on its peers, and on so many behind.
    Front { behind: usize },
    /// A result depends on the whole partition.
    Whole,
}

impl Reach {
    pub fn of(spec: &OverSpec) -> Reach {
        let reaches = spec.calls.iter().map(|call| Reach::of_call(&call.function, &call.frame));
        match reaches.fold(Reach::Rows { before: 0, behind: 0 }, Reach::and) {
            // What lies near is known along one key only.
            Reach::Values if spec.order.order.len() != 1 => Reach::Whole,
            reach => reach,
        }
    }

    fn of_call(function: &OverFunction, frame: &Frame) -> Reach {
        match function {
            OverFunction::RowNumber | OverFunction::Rank | OverFunction::DenseRank => Reach::Front { behind: 0 },
            OverFunction::PercentRank | OverFunction::CumeDist | OverFunction::Ntile(_) => Reach::Whole,
            OverFunction::Shift { by, ignore_nulls: false, .. } => {
                let distance = usize::try_from(by.unsigned_abs()).unwrap_or(usize::MAX);
                let (before, behind) = if *by >= 0 { (distance, 0) } else { (0, distance) };
                Reach::Rows { before, behind }
            }
            OverFunction::Shift { by, .. } if *by >= 0 => Reach::Front { behind: 0 },
            OverFunction::Shift { .. } => Reach::Whole,
            OverFunction::Nth { .. } | OverFunction::Aggregate(_) => Reach::of_frame(frame),
        }
    }

    fn of_frame(frame: &Frame) -> Reach {
        let near = |bound: &Bound| matches!(bound, Bound::Below(_) | Bound::Current | Bound::Above(_));
        if frame.units == Units::Range && near(&frame.start) && near(&frame.end) {
            return Reach::Values;
        }
        let rows = |rows: u64| usize::try_from(rows).unwrap_or(usize::MAX);
        let behind = match (&frame.end, frame.units) {
            (Bound::Last | Bound::Above(_), _) => return Reach::Whole,
            (Bound::Behind(n), Units::Rows) => rows(*n),
            (Bound::Behind(_), _) => return Reach::Whole,
            (Bound::First | Bound::Before(_) | Bound::Below(_) | Bound::Current, _) => 0,
        };
        match (&frame.start, frame.units) {
            (Bound::Before(n), Units::Rows) => Reach::Rows { before: rows(*n), behind },
            (Bound::Current | Bound::Behind(_), Units::Rows) => Reach::Rows { before: 0, behind },
            (Bound::Above(_) | Bound::Behind(_) | Bound::Last, _) => Reach::Whole,
            (Bound::First | Bound::Before(_) | Bound::Below(_) | Bound::Current, _) => Reach::Front { behind },
        }
    }

    fn and(self, other: Reach) -> Reach {
        match (self, other) {
            (Reach::Rows { before: a, behind: b }, Reach::Rows { before: c, behind: d }) => {
                Reach::Rows { before: a.max(c), behind: b.max(d) }
            }
            (Reach::Values, Reach::Values | Reach::Rows { before: 0, behind: 0 })
            | (Reach::Rows { before: 0, behind: 0 }, Reach::Values) => Reach::Values,
            (Reach::Whole | Reach::Values, _) | (_, Reach::Whole | Reach::Values) => Reach::Whole,
            (Reach::Front { behind: a } | Reach::Rows { behind: a, .. }, Reach::Front { behind: b })
            | (Reach::Front { behind: a }, Reach::Rows { behind: b, .. }) => Reach::Front { behind: a.max(b) },
        }
    }
}

/// The rows of a partition that a change may reach, before or after it is made: each copy by itself.
#[derive(Debug, Default)]
pub(super) struct Stretch {
    /// Row bytes in order.
    pub rows: EncodedRows,
    /// The first row whose result may differ, and behind the last.
    pub from: usize,
    pub to: usize,
}

/// Where a change lies in a partition; fixed before it is made.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// The row with which reading begins; `None`: the first.
    start: Option<Vec<u8>>,
    /// How many distinct rows lie before the first change, from `start` on, and whether `start` is the first of all.
    leading: usize,
    /// The first and the last row that changes.
    first: Vec<u8>,
    last: Vec<u8>,
    /// `None`: as `Values`.
    reach: Option<Reach>,
    edges: Edges,
}

impl Place {
    /// The place of a change that reaches by value.
    pub fn between(edges: Edges) -> Place {
        Place { start: edges.read_from.clone(), edges, ..Place::default() }
    }

    /// The place of a change of rows `first` to `last` of partition `key`.
    pub fn new(reach: Reach, bag: &BagTable, key: &[u8], first: &[u8], last: &[u8]) -> Result<Place> {
        let (mut start, mut leading) = (None, 0);
        if let Reach::Rows { before, behind } = reach {
            let context = before.saturating_add(behind);
            let rows = bag.rows_before(key, first, context)?;
            leading = rows.len();
            start = Some(rows.first().map_or_else(|| first.to_vec(), |row| row.to_vec()));
        }
        let (first, last) = (first.to_vec(), last.to_vec());
        Ok(Place { start, leading, first, last, reach: Some(reach), edges: Edges::default() })
    }

    /// Reads the stretch.
    pub fn read(&self, bag: &BagTable, key: &[u8]) -> Result<Stretch> {
        let start = self.start.as_deref().unwrap_or(&[]);
        let Some(reach) = self.reach else { return self.read_values(bag, key, start) };
        let (context, before, behind) = match reach {
            Reach::Rows { before, behind } => (before.saturating_add(behind), before, behind),
            Reach::Front { behind } => (usize::MAX, usize::MAX, behind),
            Reach::Whole | Reach::Values => (usize::MAX, usize::MAX, usize::MAX),
        };
        let mut stretch = Stretch::default();
        let (mut changed_from, mut changed_to) = (None, 0);
        let mut trailing = 0;
        for (row, weight) in bag.rows_from(key, start)? {
            if row > self.last.as_slice() {
                if trailing == context {
                    break;
                }
                trailing += 1;
            }
            if changed_from.is_none() && self.begins(reach, row) {
                changed_from = Some(stretch.rows.len());
            }
            (0..weight).for_each(|_| stretch.rows.push(row));
            if row <= self.last.as_slice() {
                changed_to = stretch.rows.len();
            }
        }
        let len = stretch.rows.len();
        let front = changed_from.unwrap_or(len);
        // Without a full context before it, the stretch begins where the partition does.
        stretch.from = if self.leading < context { 0 } else { front.saturating_sub(behind) };
        if !matches!(reach, Reach::Rows { .. }) {
            stretch.from = front.saturating_sub(behind);
        }
        stretch.to = if trailing < context { len } else { changed_to.max(front).saturating_add(before).min(len) };
        Ok(stretch)
    }

    /// Whether results may differ from `row` on (but for the rows that look behind).
    fn begins(&self, reach: Reach, row: &[u8]) -> bool {
        match reach {
            Reach::Rows { .. } => row >= self.first.as_slice(),
            // Peers of the first change may see it.
            Reach::Front { .. } => {
                let (order, _) = crate::operators::partition::split(row);
                let (first, _) = crate::operators::partition::split(&self.first);
                order >= first
            }
            Reach::Whole | Reach::Values => true,
        }
    }

    fn read_values(&self, bag: &BagTable, key: &[u8], start: &[u8]) -> Result<Stretch> {
        let mut stretch = Stretch::default();
        let (mut from, mut to) = (None, None);
        for (row, weight) in bag.rows_from(key, start)? {
            let (order, _) = crate::operators::partition::split(row);
            let beyond = |edge: &Option<Vec<u8>>| edge.as_ref().is_some_and(|edge| order > edge.as_slice());
            if beyond(&self.edges.read_to) {
                break;
            }
            let at = stretch.rows.len();
            if from.is_none() && self.edges.from.as_ref().is_none_or(|edge| order >= edge.as_slice()) {
                from = Some(at);
            }
            if to.is_none() && beyond(&self.edges.to) {
                to = Some(at);
            }
            (0..weight).for_each(|_| stretch.rows.push(row));
        }
        let len = stretch.rows.len();
        (stretch.from, stretch.to) = (from.unwrap_or(len), to.unwrap_or(len));
        Ok(stretch)
    }
}
