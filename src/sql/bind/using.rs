//! Columns that USING merges, by the side whose value they have: DataFusion takes some expressions over them for ambiguous.
//!
//! ```text
//! a JOIN b USING (k), a LEFT JOIN b USING (k)      k is a.k
//! a RIGHT JOIN b USING (k)                         k is b.k
//! a FULL JOIN b USING (k)                          k is coalesce(a.k, b.k)
//! ```
//!
//! NATURAL joins are written as USING with the columns that both sides have, and `*` as the columns that it stands for:
//! merged ones first. Where these are not known without planning, what merged columns are is put into `*`.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Ident, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, Query, ReplaceSelectElement,
    ReplaceSelectItem, Select, SelectItem, SetExpr, Spanned, TableFactor, TableWithJoins, VisitMut, VisitorMut,
    WildcardAdditionalOptions,
};

use super::super::parse::fold;
use super::operators::call;
use super::provider::Provider;
use crate::base::{Error, Result};

/// Names the side of every merged column in the SELECTs of `query`.
pub(super) fn rewrite(query: &mut Query, provider: &Provider<'_>) -> Result<()> {
    let mut merging = Merging { provider, ctes: BTreeSet::new(), merged: Vec::new() };
    match query.visit(&mut merging) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Merged columns of a SELECT, and what each is.
type Merged = HashMap<String, Expr>;

/// The columns of a join, in order: name and value; merged ones once. `None` when they are not known.
type Columns = Option<Vec<(String, Expr)>>;

struct Merging<'a> {
    provider: &'a Provider<'a>,
    /// Names that WITH gives.
    ctes: BTreeSet<String>,
    /// Of the SELECTs around, the innermost last.
    merged: Vec<Merged>,
}

impl VisitorMut for Merging<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
        self.ctes.extend(ctes.map(|cte| fold(&cte.alias.name)));
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        let mut merged = Merged::new();
        let mut all: Columns = Some(Vec::new());
        for from in &mut select.from {
            match self.merge(from, &mut merged) {
                Ok(columns) => all = all.zip(columns).map(|(before, columns)| [before, columns].concat()),
                Err(error) => return ControlFlow::Break(error),
            }
        }
        if !merged.is_empty() {
            select.projection = std::mem::take(&mut select.projection)
                .into_iter()
                .flat_map(|item| match item {
                    SelectItem::Wildcard(options) => spelled(options, &merged, all.as_deref()),
                    other => vec![other],
                })
                .collect();
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

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<Error> {
        self.merged.pop();
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
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

impl Merging<'_> {
    /// Notes what the joins of `from` merge, and gives its columns.
    fn merge(&self, from: &mut TableWithJoins, merged: &mut Merged) -> Result<Columns> {
        let mut only = name_of(&from.relation);
        // Merged columns that are not the first relation's alone.
        let mut outer = BTreeSet::new();
        let mut columns = self.columns_of(&from.relation);
        for join in &mut from.joins {
            let right = name_of(&join.relation);
            let right_columns = self.columns_of(&join.relation);
            let at = join.relation.span().start.column as usize;
            let (on, keeps) = match &mut join.join_operator {
                JoinOperator::Join(on) | JoinOperator::Inner(on) => (on, Keeps::Left),
                JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => (on, Keeps::Left),
                JoinOperator::Right(on) | JoinOperator::RightOuter(on) => (on, Keeps::Right),
                JoinOperator::FullOuter(on) => (on, Keeps::Both),
                _ => {
                    columns = joined(columns, right_columns, &[], merged);
                    only = None;
                    continue;
                }
            };
            if matches!(on, JoinConstraint::Natural) {
                natural(on, columns.as_deref(), right_columns.as_deref(), keeps, at)?;
            }
            let mut common = Vec::new();
            if let JoinConstraint::Using(names) = on {
                for column in names {
                    let Some(name) = column.0.last().and_then(|part| part.as_ident()) else { continue };
                    common.push(fold(name));
                    let of = |relation: &Ident| Expr::CompoundIdentifier(vec![relation.clone(), name.clone()]);
                    let left = merged.get(&fold(name)).cloned().or_else(|| only.as_ref().map(of));
                    let (Some(left), Some(right)) = (left, right.as_ref().map(of)) else { continue };
                    if outer.contains(&fold(name)) {
                        return Err(merged_twice(name, at));
                    }
                    let value = match keeps {
                        Keeps::Left => left,
                        Keeps::Right => right,
                        Keeps::Both => call("coalesce", vec![left, right]),
                    };
                    if !matches!(keeps, Keeps::Left) {
                        outer.insert(fold(name));
                    }
                    merged.insert(fold(name), value);
                }
            }
            columns = joined(columns, right_columns, &common, merged);
            // From here on a name may be of one of several relations.
            only = None;
        }
        Ok(columns)
    }

    /// The columns of a relation in FROM, where they can be told without planning it.
    fn columns_of(&self, factor: &TableFactor) -> Columns {
        let relation = name_of(factor)?;
        let (alias, mut columns): (_, Vec<String>) = match factor {
            TableFactor::Table { name, args: None, alias, .. } => {
                let parts: Vec<String> = name.0.iter().map(|part| part.as_ident().map(fold)).collect::<Option<_>>()?;
                let relation = match parts.as_slice() {
                    [name] if self.ctes.contains(name) => return None,
                    [name] => self.provider.find(None, name),
                    [schema, name] => self.provider.find(Some(schema), name),
                    _ => None,
                }?;
                (alias, relation.columns.columns.iter().map(|column| column.name.clone()).collect())
            }
            TableFactor::Derived { subquery, alias, .. } => (alias, listed(subquery)?),
            _ => return None,
        };
        let renamed = alias.iter().flat_map(|alias| &alias.columns).map(|column| fold(&column.name));
        columns.iter_mut().zip(renamed).for_each(|(column, name)| *column = name);
        let of = |column: String| {
            let parts = vec![relation.clone(), Ident::with_quote('"', &column)];
            (column, Expr::CompoundIdentifier(parts))
        };
        Some(columns.into_iter().map(of).collect())
    }
}

/// The columns of a sub-query that names each of them.
fn listed(query: &Query) -> Option<Vec<String>> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let name = |item: &SelectItem| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
        SelectItem::UnnamedExpr(Expr::Identifier(ident)) => Some(fold(ident)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(fold),
        _ => None,
    };
    select.projection.iter().map(name).collect()
}

/// The columns of a join that merges `common`: these first, then those of the left side, then those of the right one.
fn joined(left: Columns, right: Columns, common: &[String], merged: &Merged) -> Columns {
    let value = |name: &String| Some((name.clone(), merged.get(name)?.clone()));
    let mut columns = common.iter().map(value).collect::<Columns>()?;
    columns.extend(left?.into_iter().chain(right?).filter(|(name, _)| !common.contains(name)));
    Some(columns)
}

/// The items that `*` stands for.
fn spelled(
    mut options: WildcardAdditionalOptions,
    merged: &Merged,
    columns: Option<&[(String, Expr)]>,
) -> Vec<SelectItem> {
    if let Some(columns) = columns {
        let item = |(name, value): &(String, Expr)| match value {
            Expr::Function(_) => SelectItem::ExprWithAlias { expr: value.clone(), alias: Ident::with_quote('"', name) },
            column => SelectItem::UnnamedExpr(column.clone()),
        };
        return columns.iter().map(item).collect();
    }
    let mut names: Vec<&String> = merged.keys().collect();
    names.sort();
    let element = |name: &String| {
        let expr = merged.get(name)?.clone();
        Some(Box::new(ReplaceSelectElement { expr, column_name: Ident::with_quote('"', name), as_keyword: true }))
    };
    options.opt_replace = Some(ReplaceSelectItem { items: names.into_iter().filter_map(element).collect() });
    vec![SelectItem::Wildcard(options)]
}

/// Writes NATURAL as USING where the columns of both sides are known.
fn natural(
    on: &mut JoinConstraint,
    left: Option<&[(String, Expr)]>,
    right: Option<&[(String, Expr)]>,
    keeps: Keeps,
    at: usize,
) -> Result<()> {
    match (left, right, keeps) {
        (Some(left), Some(right), _) => {
            let common = left.iter().filter(|(column, _)| right.iter().any(|(name, _)| name == column));
            let part = |column: &String| ObjectNamePart::Identifier(Ident::with_quote('"', column));
            let common: Vec<ObjectName> = common.map(|(column, _)| ObjectName(vec![part(column)])).collect();
            // Without a common column it is a cross join, as DataFusion plans it.
            if !common.is_empty() {
                *on = JoinConstraint::Using(common);
            }
            Ok(())
        }
        (_, _, Keeps::Left) => Ok(()),
        (_, _, Keeps::Right | Keeps::Both) => {
            Err(Error::unsupported("NATURAL in a RIGHT or FULL JOIN of this sub-query is not supported")
                .with_hint("Name the columns that both sides have: USING (a, b).")
                .at(at))
        }
    }
}

/// DataFusion would join the relation to the first alone, not to what the outer join before merged.
fn merged_twice(name: &Ident, at: usize) -> Error {
    let problem = format!("column \"{}\" of an outer join merged once more is not supported", name.value);
    let hint = "Join with ON, and write coalesce(a.k, b.k) for what the outer join merged.";
    Error::unsupported(problem).with_hint(hint).at(at)
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
