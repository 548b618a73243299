//! The spec of `join`: its inputs, its kind, what a pair must fulfil, and what bounds its state.

use serde::{Deserialize, Serialize};

use super::band::Band;
use super::free::Due;
use super::side::{Matching, Shown, Side};
use super::work::Join;
use crate::base::{Error, Result};
use crate::functions::{Compiled, Expr, Named};
use crate::operators::spec::names;
use crate::state::TableSpec;
use crate::types::{Column, Schema};

/// Which rows a join shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinKind {
    /// Pairs.
    #[default]
    Inner,
    /// Pairs, and left rows without a match beside NULLs.
    Left,
    /// Pairs, and right rows without a match beside NULLs.
    Right,
    /// Pairs, and rows of both sides without a match beside NULLs.
    Full,
    /// Left rows with a match, each once.
    Semi,
    /// Left rows without a match.
    Anti,
}

impl JoinKind {
    /// Whether the output has the columns of both sides.
    pub(super) fn pairs(self) -> bool {
        !matches!(self, JoinKind::Semi | JoinKind::Anti)
    }

    /// What is shown of single rows of a side (0: left).
    pub(super) fn shown(self, side: usize) -> Option<Shown> {
        match (self, side) {
            (JoinKind::Left | JoinKind::Full | JoinKind::Anti, 0) | (JoinKind::Right | JoinKind::Full, 1) => {
                Some(Shown::Unmatched)
            }
            (JoinKind::Semi, 0) => Some(Shown::Matched),
            (JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full | JoinKind::Semi, _)
            | (JoinKind::Anti, _) => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            JoinKind::Inner => "",
            JoinKind::Left => "left ",
            JoinKind::Right => "right ",
            JoinKind::Full => "full ",
            JoinKind::Semi => "semi ",
            JoinKind::Anti => "anti ",
        }
    }
}

/// A join. Port 0 of the input is the left side, port 1 the right; the output has the left columns, then the right
/// ones (SEMI and ANTI: the left ones alone).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JoinSpec {
    /// The schema of the left input.
    pub left: Schema,
    /// The schema of the right input.
    pub right: Schema,
    /// Pairs of (left column, right column) of one type that must be equal. None: every pair of rows, on one subtask.
    pub on: Vec<(usize, usize)>,
    /// Whether NULL equals NULL in `on`; otherwise it equals nothing.
    #[serde(default)]
    pub null_safe: bool,
    /// What else must be true of a pair, over the left columns followed by the right ones.
    pub residual: Option<Expr>,
    /// Which rows are shown.
    #[serde(default)]
    pub kind: JoinKind,
    /// A range of the other side's rows that alone can fulfil `residual`: an index, no condition of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub band: Option<Band>,
    /// When rows of the left and of the right side are freed by watermark. Only for input that gates have passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<[Due; 2]>,
}

/// Where the tables lie that not every join has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Places {
    pub matches: [Option<usize>; 2],
    pub due: [Option<usize>; 2],
}

impl JoinSpec {
    /// An inner join whose rows are kept for ever.
    pub fn inner(left: Schema, right: Schema, on: Vec<(usize, usize)>, residual: Option<Expr>) -> JoinSpec {
        JoinSpec { left, right, on, null_safe: false, residual, kind: JoinKind::Inner, band: None, free: None }
    }

    /// The schema of a pair: what `residual` is evaluated over.
    pub fn pair(&self) -> Schema {
        Schema::new(self.left.columns.iter().chain(&self.right.columns).cloned().collect())
    }

    /// The schema of port 0.
    pub(in crate::operators) fn output(&self) -> Schema {
        if !self.kind.pairs() {
            return self.left.clone();
        }
        let padded = |side: usize| self.kind.shown(1 - side).is_some();
        let column = |column: &Column, side| Column { nullable: column.nullable || padded(side), ..column.clone() };
        let left = self.left.columns.iter().map(|one| column(one, 0));
        Schema::new(left.chain(self.right.columns.iter().map(|one| column(one, 1))).collect())
    }

    /// For EXPLAIN.
    pub fn detail(&self) -> String {
        let sign = if self.null_safe { "is not distinct from" } else { "=" };
        let pair = |&(left, right): &(usize, usize)| {
            format!("{} {sign} {}", names(&self.left, &[left]), names(&self.right, &[right]))
        };
        let mut text = self.kind.word().to_owned();
        text.push_str(&match self.on.as_slice() {
            [] => "every pair of rows".to_owned(),
            on => format!("on {}", on.iter().map(pair).collect::<Vec<_>>().join(" and ")),
        });
        if let Some(residual) = &self.residual {
            text.push_str(&format!(" where {}", Named { expr: residual, input: &self.pair() }));
        }
        if let Some(band) = &self.band {
            text.push_str(&format!(", by a range of {}", band.text(&self.left, &self.right)));
        }
        text
    }

    /// What bounds the state.
    pub(in crate::operators) fn bounded_by(&self) -> String {
        let Some([left, right]) = &self.free else { return "the rows of both inputs".to_owned() };
        format!("rows {} and {}", left.text(&self.left, "right"), right.text(&self.right, "left"))
    }

    /// By which columns rows of a side are exchanged.
    pub(in crate::operators) fn partition(&self, port: usize) -> Vec<usize> {
        self.on.iter().map(|&(left, right)| if port == 0 { left } else { right }).collect()
    }

    pub(in crate::operators) fn tables(&self) -> Result<Vec<TableSpec>> {
        Ok(self.sides_with_tables()?.1)
    }

    fn sides_with_tables(&self) -> Result<([Side; 2], Vec<TableSpec>, Places)> {
        let sides = [self.side(0)?, self.side(1)?];
        if sides[0].key_types != sides[1].key_types {
            let types = (&sides[0].key_types, &sides[1].key_types);
            return Err(Error::internal("join key has other types on the left than on the right")
                .with_detail(format!("Left {:?}, right {:?}; the planner casts them to one type.", types.0, types.1)));
        }
        let mut tables: Vec<TableSpec> = sides.iter().map(|side| side.table("")).collect();
        let mut places = Places::default();
        for (i, side) in sides.iter().enumerate() {
            if side.matching == Matching::Counted {
                places.matches[i] = Some(tables.len());
                tables.push(side.table("_matches"));
            }
        }
        for (i, side) in sides.iter().enumerate() {
            if let Some(due) = &side.due {
                places.due[i] = Some(tables.len());
                let order = vec![side.schema.columns[due.column].ty.clone()];
                let name = format!("{}_due", side.name);
                tables.push(TableSpec::ordered(name, order, side.key_types.clone(), Vec::new()));
            }
        }
        Ok((sides, tables, places))
    }

    fn side(&self, i: usize) -> Result<Side> {
        let (name, schema) = if i == 0 { ("left", &self.left) } else { ("right", &self.right) };
        let first = self.band.as_ref().map(|band| if i == 0 { band.left } else { band.right });
        let mut side = Side::new(name, schema, self.partition(i), first)?;
        side.null_safe = self.null_safe;
        if let Some(shown) = self.kind.shown(i) {
            side.shown = Some(shown);
            side.matching =
                if self.residual.is_none() && self.free.is_none() { Matching::ByKey } else { Matching::Counted };
        }
        if let Some(free) = &self.free {
            let due = free[i].clone();
            due.check(schema, &side.key, first)?;
            side.due = Some(due);
        }
        Ok(side)
    }

    pub(in crate::operators) fn build(&self) -> Result<Join> {
        let pair = self.pair();
        let residual = self.residual.as_ref().map(|expr| Compiled::new(expr, &pair)).transpose()?;
        if let Some(band) = &self.band {
            band.check(&self.left, &self.right)?;
        }
        let (sides, _, places) = self.sides_with_tables()?;
        Ok(Join::new(self, sides, places, residual, pair.arrow(), self.output().arrow()))
    }
}
