//! The names of the columns of sub-queries and of what stands in FROM, told from their syntax alone: before anything is
//! planned.
//!
//! ```text
//! WITH s AS (SELECT k, a + 1 AS b FROM t)      s has k, b
//! t NATURAL JOIN s                             the common ones first, then t's, then s's
//! TUMBLE(t, at, INTERVAL '1 minute')           t's, then window_start, window_end
//! ```

use std::collections::HashMap;

use sqlparser::ast::{
    Expr, Ident, JoinConstraint, JoinOperator, ObjectName, Query, Select, SelectItem, SelectItemQualifiedWildcardKind,
    SetExpr, Spanned, TableAlias, TableFactor, TableWithJoins, With,
};

use super::super::dialect::TABLE_ARGUMENT;
use super::super::parse::fold;
use super::names;
use super::provider::Provider;
use super::windows::Call;
use crate::plan::{WINDOW_END, WINDOW_START};

/// The names of columns, in order; `None` where only planning could tell.
pub(super) type Names = Option<Vec<String>>;

/// What names stand for: relations of the catalog, and before them what WITH gives.
#[derive(Clone)]
pub(super) struct Scope<'a> {
    provider: &'a Provider<'a>,
    /// Names that WITH gives, the innermost last.
    ctes: Vec<(String, Names)>,
}

impl<'a> Scope<'a> {
    /// The relations of the catalog.
    pub fn new(provider: &'a Provider<'a>) -> Scope<'a> {
        Scope { provider, ctes: Vec::new() }
    }

    /// How many names WITH gave.
    pub fn depth(&self) -> usize {
        self.ctes.len()
    }

    /// Forgets all but the first `depth` names that WITH gave.
    pub fn leave(&mut self, depth: usize) {
        self.ctes.truncate(depth);
    }

    /// Adds what `alias` calls a query.
    pub fn add(&mut self, alias: &TableAlias, query: &Query) {
        let names = called(self.query(query), Some(alias));
        self.ctes.push((fold(&alias.name), names));
    }

    /// The columns of a query.
    pub fn query(&self, query: &Query) -> Names {
        match &query.with {
            Some(with) => self.within(with).body(&query.body),
            None => self.body(&query.body),
        }
    }

    fn within(&self, with: &With) -> Scope<'a> {
        let mut inner = self.clone();
        with.cte_tables.iter().for_each(|cte| inner.add(&cte.alias, &cte.query));
        inner
    }

    fn body(&self, body: &SetExpr) -> Names {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { left, .. } => self.body(left),
            SetExpr::Values(values) => {
                let width = values.rows.first()?.len();
                Some((1..=width).map(|i| format!("column{i}")).collect())
            }
            _ => None,
        }
    }

    fn select(&self, select: &Select) -> Names {
        let mut columns = Vec::new();
        for item in &select.projection {
            match item {
                SelectItem::ExprWithAlias { alias, .. } => columns.push(fold(alias)),
                SelectItem::UnnamedExpr(expr) => columns.push(names::name_of(expr)),
                SelectItem::Wildcard(options) if options.to_string().is_empty() => {
                    for from in &select.from {
                        columns.extend(self.join(from)?);
                    }
                }
                SelectItem::QualifiedWildcard(..) => columns.extend(self.of_star(select, item)?.1),
                _ => return None,
            }
        }
        let merges = |from: &TableWithJoins| {
            from.joins.iter().any(|join| constraint(&join.join_operator).is_some_and(is_merging))
        };
        let spelled = is_mixed(select) || !select.projection.iter().any(is_star) || select.from.iter().any(merges);
        let mut seen: HashMap<String, usize> = HashMap::new();
        let named = columns.into_iter().map(|name| {
            let count = seen.entry(name.clone()).or_default();
            *count += 1;
            match *count {
                1 => Some(name),
                // As items of one name are told apart when they are planned; those of a star are not.
                count => spelled.then(|| names::again(&name, count)),
            }
        });
        named.collect()
    }

    /// What `name.*` stands for: the relation in FROM and its columns.
    pub fn of_star(&self, select: &Select, item: &SelectItem) -> Option<(Ident, Vec<String>)> {
        match item {
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options)
                if options.to_string().is_empty() =>
            {
                let [name] = name.0.as_slice() else { return None };
                let name = name.as_ident()?.clone();
                let columns = self.of_name(select, &fold(&name))?;
                Some((name, columns))
            }
            _ => None,
        }
    }

    /// The columns of the relation in FROM that `name` calls.
    fn of_name(&self, select: &Select, name: &str) -> Names {
        let factors = select
            .from
            .iter()
            .flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
        self.factor(factors.into_iter().find(|factor| name_of(factor).is_some_and(|ident| fold(&ident) == name))?)
    }

    /// The columns of a join, merged ones once.
    fn join(&self, from: &TableWithJoins) -> Names {
        let mut columns = self.factor(&from.relation)?;
        for join in &from.joins {
            let right = match &join.join_operator {
                JoinOperator::LeftSemi(_) | JoinOperator::LeftAnti(_) => continue,
                JoinOperator::RightSemi(_) | JoinOperator::RightAnti(_) => return None,
                _ => self.factor(&join.relation)?,
            };
            let common = match constraint(&join.join_operator) {
                Some(JoinConstraint::Natural) => common(&columns, &right),
                Some(JoinConstraint::Using(names)) => names.iter().map(last).collect::<Option<_>>()?,
                _ => Vec::new(),
            };
            let rest = columns.into_iter().chain(right).filter(|name| !common.contains(name));
            columns = common.iter().cloned().chain(rest).collect();
        }
        Some(columns)
    }

    /// The columns of a relation in FROM.
    pub fn factor(&self, factor: &TableFactor) -> Names {
        if let Some(call) = Call::of(factor) {
            let mut columns = self.data(call.data()?)?;
            columns.extend([WINDOW_START, WINDOW_END].map(str::to_string));
            return called(Some(columns), call.alias());
        }
        match factor {
            TableFactor::Table { name, args: None, alias, .. } => called(self.named(name), alias.as_ref()),
            TableFactor::Derived { subquery, alias, .. } => called(self.query(subquery), alias.as_ref()),
            TableFactor::NestedJoin { table_with_joins, alias } => called(self.join(table_with_joins), alias.as_ref()),
            _ => None,
        }
    }

    /// The columns of what a window function takes.
    fn data(&self, expr: &Expr) -> Names {
        match expr {
            Expr::Identifier(ident) => self.named(&ObjectName::from(vec![ident.clone()])),
            Expr::CompoundIdentifier(parts) => self.named(&ObjectName::from(parts.clone())),
            Expr::Named { expr, name } if name.value == TABLE_ARGUMENT => self.data(expr),
            Expr::Nested(inner) => self.data(inner),
            Expr::Subquery(query) => self.query(query),
            _ => None,
        }
    }

    fn named(&self, name: &ObjectName) -> Names {
        let parts: Vec<String> = name.0.iter().map(|part| part.as_ident().map(fold)).collect::<Option<_>>()?;
        let relation = match parts.as_slice() {
            [name] => match self.ctes.iter().rev().find(|(known, _)| known == name) {
                Some((_, columns)) => return columns.clone(),
                None => self.provider.find(None, name),
            },
            [schema, name] => self.provider.find(Some(schema), name),
            _ => None,
        }?;
        Some(relation.columns.columns.iter().map(|column| column.name.clone()).collect())
    }
}

/// Whether an item stands for columns that it does not name.
pub(super) fn is_star(item: &SelectItem) -> bool {
    matches!(item, SelectItem::QualifiedWildcard(..) | SelectItem::Wildcard(_))
}

/// Whether a SELECT has stars beside other items: these are spelled then, so that the others keep their names.
pub(super) fn is_mixed(select: &Select) -> bool {
    select.projection.iter().any(is_star) && !select.projection.iter().all(is_star)
}

fn is_merging(on: &JoinConstraint) -> bool {
    matches!(on, JoinConstraint::Using(_) | JoinConstraint::Natural)
}

/// `columns` as an alias calls them.
fn called(columns: Names, alias: Option<&TableAlias>) -> Names {
    let mut columns = columns?;
    let given = alias.into_iter().flat_map(|alias| &alias.columns).map(|column| fold(&column.name));
    columns.iter_mut().zip(given).for_each(|(column, name)| *column = name);
    Some(columns)
}

/// The columns that both sides have, in the order of the left one.
pub(super) fn common(left: &[String], right: &[String]) -> Vec<String> {
    left.iter().filter(|name| right.contains(name)).cloned().collect()
}

/// What a join is joined by.
fn constraint(join: &JoinOperator) -> Option<&JoinConstraint> {
    match join {
        JoinOperator::Join(on)
        | JoinOperator::Inner(on)
        | JoinOperator::Left(on)
        | JoinOperator::LeftOuter(on)
        | JoinOperator::Right(on)
        | JoinOperator::RightOuter(on)
        | JoinOperator::FullOuter(on) => Some(on),
        _ => None,
    }
}

/// The last part of a name.
pub(super) fn last(name: &ObjectName) -> Option<String> {
    name.0.last()?.as_ident().map(fold)
}

/// What a relation in FROM is called.
pub(super) fn name_of(factor: &TableFactor) -> Option<Ident> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::TableFunction { alias: Some(alias), .. }
        | TableFactor::UNNEST { alias: Some(alias), .. }
        | TableFactor::NestedJoin { alias: Some(alias), .. }
        | TableFactor::Function { alias: Some(alias), .. } => Some(alias.name.clone()),
        TableFactor::Table { name, args: None, .. } => {
            let mut ident = name.0.last()?.as_ident()?.clone();
            ident.span = factor.span();
            Some(ident)
        }
        _ => None,
    }
}
