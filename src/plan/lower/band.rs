//! Finds in a join's condition the range by which one side's rows can be looked up: `left + low <= right <= left + high`.

use std::collections::BTreeMap;

use crate::functions::{BinaryOp, Expr, Value};
use crate::operators::Band;
use crate::types::{Schema, SqlType};

/// A column of a pair and what is added to it.
#[derive(Clone, Copy)]
struct Term {
    column: usize,
    plus: i64,
}

/// The band that `condition` (over the left columns, then the right ones) implies, the narrowest there is.
/// Columns that are `keys` (of the left and of the right side) order nothing.
pub(super) fn band_of(condition: &Expr, left: &Schema, right: &Schema, keys: (&[Expr], &[Expr])) -> Option<Band> {
    let width = left.columns.len();
    let mut bands: BTreeMap<(usize, usize), Band> = BTreeMap::new();
    for conjunct in conjuncts(condition) {
        let Expr::Binary { op, left: one, right: other } = conjunct else { continue };
        let (small, large, strict) = match op {
            BinaryOp::Less => (one, other, true),
            BinaryOp::LessEqual => (one, other, false),
            BinaryOp::Greater => (other, one, true),
            BinaryOp::GreaterEqual => (other, one, false),
            _ => continue,
        };
        let (Some(small), Some(large)) = (term(small), term(large)) else { continue };
        let (l, r) = match (small.column < width, large.column < width) {
            (true, false) => (small.column, large.column - width),
            (false, true) => (large.column, small.column - width),
            (true, true) | (false, false) => continue,
        };
        let (Some(lc), Some(rc)) = (left.columns.get(l), right.columns.get(r)) else { continue };
        let shifted = small.plus != 0 || large.plus != 0;
        if lc.ty != rc.ty
            || !Band::can_order(&lc.ty, shifted)
            || keys.0.contains(&Expr::Column(l))
            || keys.1.contains(&Expr::Column(r))
        {
            continue;
        }
        let step = i64::from(strict && Band::can_order(&lc.ty, true));
        let band = bands.entry((l, r)).or_insert(Band { left: l, right: r, low: None, high: None });
        // small.column + small.plus <= large.column + large.plus
        if small.column < width {
            let low = small.plus.saturating_sub(large.plus).saturating_add(step);
            band.low = Some(band.low.map_or(low, |known| known.max(low)));
        } else {
            let high = large.plus.saturating_sub(small.plus).saturating_sub(step);
            band.high = Some(band.high.map_or(high, |known| known.min(high)));
        }
    }
    let narrow = |band: &Band| usize::from(band.low.is_some()) + usize::from(band.high.is_some());
    bands.into_values().rev().max_by_key(narrow)
}

/// The conditions that must all be true.
pub(super) fn conjuncts(condition: &Expr) -> Vec<&Expr> {
    match condition {
        Expr::And(all) => all.iter().flat_map(conjuncts).collect(),
        one => vec![one],
    }
}

fn term(expr: &Expr) -> Option<Term> {
    match expr {
        Expr::Column(column) => Some(Term { column: *column, plus: 0 }),
        Expr::Binary { op: BinaryOp::Add, left, right } => {
            let (term, plus) = match (term(left), term(right)) {
                (Some(term), None) => (term, constant(right)?),
                (None, Some(term)) => (term, constant(left)?),
                _ => return None,
            };
            Some(Term { plus: term.plus.checked_add(plus)?, ..term })
        }
        Expr::Binary { op: BinaryOp::Subtract, left, right } => {
            let term = term(left)?;
            Some(Term { plus: term.plus.checked_sub(constant(right)?)?, ..term })
        }
        _ => None,
    }
}

/// A whole number, or an interval in microseconds.
fn constant(expr: &Expr) -> Option<i64> {
    let literal = match expr {
        Expr::Literal(literal) => literal,
        Expr::Negate(inner) => return constant(inner)?.checked_neg(),
        _ => return None,
    };
    match (&literal.value, &literal.ty) {
        (Value::Integer(value), SqlType::SmallInt | SqlType::Int | SqlType::BigInt) => Some(*value),
        (Value::Interval { months: 0, days, nanoseconds }, _) if nanoseconds % 1_000 == 0 => {
            i64::from(*days).checked_mul(86_400_000_000)?.checked_add(nanoseconds / 1_000)
        }
        _ => None,
    }
}
