//! Columns that USING merges, by the side whose value they have: DataFusion takes some expressions over them for ambiguous.
//!
//! ```text
//! a JOIN b USING (k), a LEFT JOIN b USING (k)      k is a.k
//! a RIGHT JOIN b USING (k)                         k is b.k
//! a FULL JOIN b USING (k)                          k is coalesce(a.k, b.k)
//! ```

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Ident, JoinConstraint, JoinOperator, Query, Select, SelectItem, Spanned, TableFactor, TableWithJoins,
    VisitMut, VisitorMut,
};

use super::super::parse::fold;
use super::operators::call;

/// Names the side of every merged column in the SELECTs of `query`.
pub(super) fn rewrite(query: &mut Query) {
    let _ = query.visit(&mut Merging { merged: Vec::new() });
}

/// Merged columns of a SELECT, and what each is.
type Merged = HashMap<String, Expr>;

struct Merging {
    /// Of the SELECTs around, the innermost last.
    merged: Vec<Merged>,
}

impl VisitorMut for Merging {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let mut merged = Merged::new();
        for from in &select.from {
            merge(from, &mut merged);
        }
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(Expr::Identifier(ident)) = item
                && let Some(Expr::Function(_)) = merged.get(&fold(ident))
            {
                let alias = Ident::with_quote('"', fold(ident));
                *item = SelectItem::ExprWithAlias { expr: Expr::Identifier(ident.clone()), alias };
            }
        }
        self.merged.push(merged);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<()> {
        self.merged.pop();
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(ident) = expr
            && let Some(merged) = self.merged.last().and_then(|merged| merged.get(&fold(ident)))
        {
            let span = ident.span;
            *expr = merged.clone();
            if let Expr::CompoundIdentifier(parts) = expr {
                parts.iter_mut().for_each(|part| part.span = span);
            }
        }
        ControlFlow::Continue(())
    }
}

fn merge(from: &TableWithJoins, merged: &mut Merged) {
    let mut only = name_of(&from.relation);
    for join in &from.joins {
        let right = name_of(&join.relation);
        let constraint = match &join.join_operator {
            JoinOperator::Join(on) | JoinOperator::Inner(on) => Some((on, Keeps::Left)),
            JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => Some((on, Keeps::Left)),
            JoinOperator::Right(on) | JoinOperator::RightOuter(on) => Some((on, Keeps::Right)),
            JoinOperator::FullOuter(on) => Some((on, Keeps::Both)),
            _ => None,
        };
        if let Some((JoinConstraint::Using(columns), keeps)) = constraint {
            for column in columns {
                let Some(name) = column.0.last().and_then(|part| part.as_ident()) else { continue };
                let of = |relation: &Ident| Expr::CompoundIdentifier(vec![relation.clone(), name.clone()]);
                let left = merged.get(&fold(name)).cloned().or_else(|| only.as_ref().map(of));
                let (Some(left), Some(right)) = (left, right.as_ref().map(of)) else { continue };
                let value = match keeps {
                    Keeps::Left => left,
                    Keeps::Right => right,
                    Keeps::Both => call("coalesce", vec![left, right]),
                };
                merged.insert(fold(name), value);
            }
        }
        // From here on a name may be of one of several relations.
        only = None;
    }
}

/// Whose value a merged column has.
#[derive(Clone, Copy)]
enum Keeps {
    Left,
    Right,
    Both,
}

/// What a relation in FROM is called.
fn name_of(factor: &TableFactor) -> Option<Ident> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::Function { alias: Some(alias), .. } => Some(alias.name.clone()),
        TableFactor::Table { name, args: None, .. } => {
            let mut ident = name.0.last()?.as_ident()?.clone();
            ident.span = factor.span();
            Some(ident)
        }
        _ => None,
    }
}
