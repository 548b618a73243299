//! Columns that USING merges, by the side whose value they have: DataFusion takes some expressions over them for ambiguous.
//!
//! ```text
//! a JOIN b USING (k), a LEFT JOIN b USING (k)      k is a.k
//! a RIGHT JOIN b USING (k)                         k is b.k
//! a FULL JOIN b USING (k)                          k is coalesce(a.k, b.k)
//! ```
//!
//! NATURAL joins are written as USING with the columns that both sides have, and `*` as the columns that it stands for:
//! merged ones first. Where these are not known without planning, what merged columns are is put into `*`. USING of what
//! more than one relation gives becomes ON; a join with a name, `(a JOIN b USING (k)) AS j`, a sub-query. Stars beside other
//! items are spelled too.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, OrderByKind, Query, ReplaceSelectElement,
    ReplaceSelectItem, Select, SelectItem, SetExpr, Spanned, TableAliasColumnDef, TableFactor, TableWithJoins,
    VisitMut, VisitorMut, WildcardAdditionalOptions, With, visit_expressions, visit_expressions_mut,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::super::parse::fold;
use super::columns::{Scope, common, is_mixed, last, name_of};
use super::operators::call;
use super::provider::Provider;
use crate::base::{Error, Result, sqlstate};

/// Names the side of every merged column in the SELECTs of `query`.
pub(super) fn rewrite(query: &mut Query, provider: &Provider<'_>) -> Result<()> {
    let mut merging = Merging { scope: Scope::new(provider), merged: Vec::new(), queries: Vec::new() };
    match query.visit(&mut merging) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Merged columns of a SELECT, and what each is.
type Merged = HashMap<String, Expr>;

/// The columns of a join, in order: name and value; merged ones once. `None` when they are not known.
type Columns = Option<Vec<(String, Expr)>>;

/// One side of a join, or all of FROM.
#[derive(Default)]
struct Side {
    columns: Columns,
    merged: Merged,
    /// What it is called, if it is one relation.
    only: Option<Ident>,
    /// Merged columns that are not the first relation's alone.
    outer: BTreeSet<String>,
    /// Whether it has a merged column.
    merges: bool,
    /// The first column and the place of what USING meant and ON says: `*` must be spelled then.
    respelled: Option<(String, usize)>,
}

/// A query that is being visited.
struct Open {
    with: Option<With>,
    /// Names of WITH around it.
    depth: usize,
    /// What its SELECT merged.
    merged: Merged,
}

struct Merging<'a> {
    scope: Scope<'a>,
    /// Of the SELECTs around, the innermost last.
    merged: Vec<Merged>,
    queries: Vec<Open>,
}

impl VisitorMut for Merging<'_> {
    type Break = Error;

    /// What WITH gives is seen by what follows it: visited here, in order.
    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let depth = self.scope.depth();
        let mut with = query.with.take();
        if let Some(with) = &mut with {
            for cte in &mut with.cte_tables {
                if with.recursive {
                    self.scope.add(&cte.alias, &cte.query);
                    cte.query.visit(self)?;
                } else {
                    cte.query.visit(self)?;
                    self.scope.add(&cte.alias, &cte.query);
                }
            }
        }
        self.queries.push(Open { with, depth, merged: Merged::new() });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let Some(open) = self.queries.pop() else { return ControlFlow::Continue(()) };
        query.with = open.with;
        self.scope.leave(open.depth);
        if !open.merged.is_empty() {
            ordered(query, &open.merged);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        let mut all = Side { columns: Some(Vec::new()), ..Side::default() };
        for from in &mut select.from {
            match self.merge(from) {
                Ok(side) => all = beside(all, side, &[]),
                Err(error) => return ControlFlow::Break(error),
            }
        }
        if (all.merges || is_mixed(select))
            && let Err(error) = self.spell(select, &all)
        {
            return ControlFlow::Break(error);
        }
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(Expr::Identifier(ident)) = item
                && let Some(Expr::Function(_)) = all.merged.get(&fold(ident))
            {
                let alias = Ident::with_quote('"', fold(ident));
                *item = SelectItem::ExprWithAlias { expr: Expr::Identifier(ident.clone()), alias };
            }
        }
        self.merged.push(all.merged);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<Error> {
        if let (Some(merged), Some(query)) = (self.merged.pop(), self.queries.last_mut()) {
            query.merged = merged;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if let Some(merged) = self.merged.last() {
            put(expr, merged);
        }
        ControlFlow::Continue(())
    }
}

/// Puts what it is in the place of a merged column.
fn put(expr: &mut Expr, merged: &Merged) {
    if let Expr::Identifier(ident) = expr
        && let Some(merged) = merged.get(&fold(ident))
    {
        let span = ident.span;
        *expr = merged.clone();
        if let Expr::CompoundIdentifier(parts) = expr {
            parts.iter_mut().for_each(|part| part.span = span);
        }
    }
}

/// Names the sides of merged columns in ORDER BY, where no column of the output has the name.
fn ordered(query: &mut Query, merged: &Merged) {
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    let Some(order) = &mut query.order_by else { return };
    let OrderByKind::Expressions(items) = &mut order.kind else { return };
    let output = |name: &str| {
        select.projection.iter().any(|item| match item {
            SelectItem::ExprWithAlias { alias, .. } => fold(alias) == name,
            SelectItem::UnnamedExpr(Expr::Identifier(ident)) => fold(ident) == name,
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(fold).as_deref() == Some(name),
            SelectItem::UnnamedExpr(_) => false,
            _ => true,
        })
    };
    for item in items {
        let bare = matches!(&item.expr, Expr::Identifier(ident) if output(&fold(ident)));
        let asks = |expr: &Expr| match expr {
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        if !bare && visit_expressions(&item.expr, asks).is_continue() {
            let _ = visit_expressions_mut(&mut item.expr, |expr| {
                put(expr, merged);
                ControlFlow::<()>::Continue(())
            });
        }
    }
}

impl Merging<'_> {
    /// Puts what it stands for in the place of each star, where that is known.
    fn spell(&self, select: &mut Select, all: &Side) -> Result<()> {
        let mixed = is_mixed(select);
        let mut items = Vec::with_capacity(select.projection.len());
        for item in std::mem::take(&mut select.projection) {
            let of_star = if mixed { self.scope.of_star(select, &item) } else { None };
            match (item, of_star) {
                (SelectItem::Wildcard(options), _) if all.merges || is_plain(&options) && all.columns.is_some() => {
                    items.extend(spelled(options, all)?);
                }
                (_, Some((relation, columns))) => items.extend(columns.into_iter().map(|column| {
                    let parts = vec![relation.clone(), Ident::with_quote('"', column)];
                    SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts))
                })),
                (other, None) => items.push(other),
            }
        }
        select.projection = items;
        Ok(())
    }

    /// The columns of `from`, its joins merged.
    fn merge(&self, from: &mut TableWithJoins) -> Result<Side> {
        let mut left = self.side(&mut from.relation)?;
        for join in &mut from.joins {
            let at = join.relation.span().start.column as usize;
            let right = self.side(&mut join.relation)?;
            let (on, keeps) = match &mut join.join_operator {
                JoinOperator::Join(on) | JoinOperator::Inner(on) => (on, Keeps::Left),
                JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => (on, Keeps::Left),
                JoinOperator::Right(on) | JoinOperator::RightOuter(on) => (on, Keeps::Right),
                JoinOperator::FullOuter(on) => (on, Keeps::Both),
                JoinOperator::LeftSemi(_) | JoinOperator::LeftAnti(_) => continue,
                _ => {
                    left = beside(left, right, &[]);
                    continue;
                }
            };
            if matches!(on, JoinConstraint::Natural) {
                natural(on, &left, &right, keeps, at)?;
            }
            left = match on {
                JoinConstraint::Using(_) => using(on, left, right, keeps, at)?,
                _ => beside(left, right, &[]),
            };
        }
        Ok(left)
    }

    /// A relation in FROM.
    fn side(&self, factor: &mut TableFactor) -> Result<Side> {
        match factor {
            TableFactor::NestedJoin { table_with_joins, alias: None } => return self.merge(table_with_joins),
            TableFactor::NestedJoin { table_with_joins, alias: alias @ Some(_) } => {
                let subquery = all_of((**table_with_joins).clone())?;
                *factor = TableFactor::Derived { lateral: false, subquery, alias: alias.take(), sample: None };
            }
            _ => {}
        }
        let only = name_of(factor);
        let names = self.scope.factor(factor);
        if let (
            Some(names),
            TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. },
        ) = (&names, &mut *factor)
            && !alias.columns.is_empty()
        {
            // Columns that the alias does not name keep their names.
            let rest = names.iter().skip(alias.columns.len()).map(|name| Ident::with_quote('"', name));
            alias.columns.extend(rest.map(|name| TableAliasColumnDef { name, data_type: None }).collect::<Vec<_>>());
        }
        let columns = only.as_ref().zip(names).map(|(relation, columns)| {
            let of = |column: String| {
                let parts = vec![relation.clone(), Ident::with_quote('"', &column)];
                (column, Expr::CompoundIdentifier(parts))
            };
            columns.into_iter().map(of).collect()
        });
        Ok(Side { columns, only, ..Side::default() })
    }
}

/// `SELECT * FROM from`.
fn all_of(from: TableWithJoins) -> Result<Box<Query>> {
    let parser = Parser::new(&PostgreSqlDialect {}).try_with_sql("SELECT *");
    let parsed = parser.and_then(|mut parser| parser.parse_query());
    let mut query = parsed.map_err(|error| Error::internal("SELECT * cannot be parsed").caused_by(error))?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.from = vec![from];
    }
    Ok(query)
}

impl Side {
    /// What the column `name` of it is; `None` if it is not known to have it.
    fn value(&self, name: &Ident, side: &str, at: usize) -> Result<Option<Expr>> {
        let Some(columns) = &self.columns else {
            let own = |relation: &Ident| Expr::CompoundIdentifier(vec![relation.clone(), name.clone()]);
            return Ok(self.merged.get(&fold(name)).cloned().or_else(|| self.only.as_ref().map(own)));
        };
        let mut found = columns.iter().filter(|(column, _)| *column == fold(name)).map(|(_, value)| value.clone());
        match (found.next(), found.next()) {
            (_, Some(_)) => {
                let problem = format!("column \"{}\" of USING is more than once on the {side} side", name.value);
                Err(Error::invalid(problem)
                    .with_code(sqlstate::AMBIGUOUS_COLUMN)
                    .with_hint("Join with ON, and name the relation of each column.")
                    .at(at))
            }
            (value, None) => Ok(value),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.columns.iter().flatten().any(|(column, _)| column == name)
    }

    fn names(&self) -> Option<Vec<String>> {
        self.columns.as_ref().map(|columns| columns.iter().map(|(name, _)| name.clone()).collect())
    }
}

/// The join of two sides by USING.
fn using(on: &mut JoinConstraint, left: Side, right: Side, keeps: Keeps, at: usize) -> Result<Side> {
    let JoinConstraint::Using(names) = &*on else { return Ok(beside(left, right, &[])) };
    let (mut merged, mut outer, mut pairs) = (Vec::new(), BTreeSet::new(), Vec::new());
    // Whether DataFusion finds the two columns by their name.
    let mut found = right.only.is_some();
    for column in names {
        let Some(name) = column.0.last().and_then(|part| part.as_ident()) else { continue };
        let folded = fold(name);
        let (of_left, of_right) = (left.value(name, "left", at)?, right.value(name, "right", at)?);
        found &= !left.outer.contains(&folded) && (left.only.is_some() || left.merged.contains_key(&folded));
        let (Some(of_left), Some(of_right)) = (of_left, of_right) else {
            if left.outer.contains(&folded) || right.outer.contains(&folded) {
                return Err(merged_twice(&folded, at));
            }
            continue;
        };
        pairs.push((of_left.clone(), of_right.clone()));
        let value = match keeps {
            Keeps::Left => of_left,
            Keeps::Right => of_right,
            Keeps::Both => call("coalesce", vec![of_left, of_right]),
        };
        if !matches!(keeps, Keeps::Left) || left.outer.contains(&folded) {
            outer.insert(folded.clone());
        }
        merged.push((folded, value));
    }
    let first = merged.first().map(|(name, _)| name.clone());
    let respells = !found && pairs.len() == names.len();
    let common: Vec<String> = names.iter().filter_map(last).collect();
    let mut all = beside(left, right, &common);
    if respells {
        all.respelled = all.respelled.or(first.map(|first| (first, at)));
        let equal = |(left, right): (Expr, Expr)| Expr::BinaryOp {
            left: Box::new(left),
            op: BinaryOperator::Eq,
            right: Box::new(right),
        };
        let and =
            |left, right| Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) };
        if let Some(condition) = pairs.into_iter().map(equal).reduce(and) {
            *on = JoinConstraint::On(condition);
        }
    }
    let known = merged.len() == common.len();
    all.columns = all.columns.filter(|_| known).map(|columns| merged.iter().cloned().chain(columns).collect());
    all.merged.extend(merged);
    all.outer.extend(outer);
    all.merges = true;
    Ok(all)
}

/// Two sides: the columns of the left one, then those of the right one, without what is merged.
fn beside(left: Side, right: Side, common: &[String]) -> Side {
    // Without a merge of them both, a name on both sides is ambiguous.
    let unclear = |name: &String| left.has(name) && right.has(name) && !common.contains(name);
    let mut merged = left.merged.clone();
    right.merged.iter().for_each(|(name, value)| _ = merged.entry(name.clone()).or_insert_with(|| value.clone()));
    merged.retain(|name, _| !unclear(name));
    let columns = left
        .columns
        .zip(right.columns)
        .map(|(left, right)| left.into_iter().chain(right).filter(|(name, _)| !common.contains(name)).collect());
    let outer = left.outer.into_iter().chain(right.outer).collect();
    let merges = left.merges || right.merges;
    Side { columns, merged, only: None, outer, merges, respelled: left.respelled.or(right.respelled) }
}

fn is_plain(options: &WildcardAdditionalOptions) -> bool {
    options.to_string().is_empty()
}

/// The items that `*` stands for.
fn spelled(mut options: WildcardAdditionalOptions, all: &Side) -> Result<Vec<SelectItem>> {
    if let Some(columns) = &all.columns {
        let item = |(name, value): &(String, Expr)| match value {
            Expr::Function(_) => SelectItem::ExprWithAlias { expr: value.clone(), alias: Ident::with_quote('"', name) },
            column => SelectItem::UnnamedExpr(column.clone()),
        };
        return Ok(columns.iter().map(item).collect());
    }
    if let Some((name, at)) = &all.respelled {
        return Err(merged_twice(name, *at));
    }
    let mut names: Vec<&String> = all.merged.keys().collect();
    names.sort();
    let element = |name: &String| {
        let expr = all.merged.get(name)?.clone();
        Some(Box::new(ReplaceSelectElement { expr, column_name: Ident::with_quote('"', name), as_keyword: true }))
    };
    options.opt_replace = Some(ReplaceSelectItem { items: names.into_iter().filter_map(element).collect() });
    Ok(vec![SelectItem::Wildcard(options)])
}

/// Writes NATURAL as USING where the columns of both sides are known.
fn natural(on: &mut JoinConstraint, left: &Side, right: &Side, keeps: Keeps, at: usize) -> Result<()> {
    match (left.names(), right.names(), keeps) {
        (Some(left), Some(right), _) => {
            let names =
                common(&left, &right).into_iter().map(|name| ObjectName::from(vec![Ident::with_quote('"', name)]));
            let names: Vec<ObjectName> = names.collect();
            // Without a common column it is a cross join, as DataFusion plans it.
            if !names.is_empty() {
                *on = JoinConstraint::Using(names);
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
fn merged_twice(name: &str, at: usize) -> Error {
    let problem = format!("column \"{name}\" of an outer join merged once more is not supported");
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
