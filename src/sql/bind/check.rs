//! What a query may not contain, found in its syntax tree, where every construct still has its place.

use std::ops::ControlFlow;

use datafusion::logical_expr::Volatility;
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, JoinOperator, LimitClause, Query,
    Select, SetExpr, SetQuantifier, Spanned, TableFactor, Visit, Visitor,
};

use super::super::dialect::{PARTITION_ARGUMENT, TABLE_ARGUMENT};
use super::super::postgres::{is_catalog_function, json_function, reg_type};
use super::provider::Provider;
use super::set_functions;
use super::{BindMode, clock, columnless, json_aggregates};
use crate::base::{Error, Result, did_you_mean, sqlstate};
use crate::functions::is_clock;
use crate::plan::{ASOF, CLOCK_HINT, LOOKUP};

/// Tables in one FROM.
const FROM_MAX: usize = 200;

/// Refuses functions that do not exist, and what cannot be kept up to date when `mode` is stored.
pub(super) fn check<T: Visit>(node: &T, provider: &Provider<'_>) -> Result<()> {
    match node.visit(&mut Checker { provider, clocks: Vec::new() }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Checker<'a, 'b> {
    provider: &'a Provider<'b>,
    /// Where functions of the clock may stand.
    clocks: Vec<usize>,
}

impl Visitor for Checker<'_, '_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        flow(self.query(query))
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Error> {
        self.clocks.extend(clock::places(select));
        flow(self.select(select))
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Error> {
        flow(self.factor(factor))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        flow(self.expr(expr))
    }
}

fn flow(result: Result<()>) -> ControlFlow<Error> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

fn position(node: &impl Spanned) -> usize {
    node.span().start.column as usize
}

/// What only reads may call: how it is refused elsewhere, and what to write instead.
fn reads_only(name: &str) -> Option<(String, &'static str)> {
    is_catalog_function(name).then(|| {
        let what = format!("function {name}(), which asks for the catalog or the session,");
        (what, "Call it in the SELECT that reads the view.")
    })
}

/// The refusal of `what`, at `at` if that is known.
fn refused(what: &str, rewrite: &str, at: usize) -> Error {
    let error = Error::unsupported(format!("{what} is not supported")).with_hint(rewrite);
    if at > 0 { error.at(at) } else { error }
}

/// The refusal of `what` in a query that is kept up to date.
fn refused_stored(what: &str, rewrite: &str, at: usize) -> Error {
    let error =
        Error::unsupported(format!("{what} is not supported in a materialized view or sink")).with_hint(rewrite);
    if at > 0 { error.at(at) } else { error }
}

impl Checker<'_, '_> {
    fn stored(&self) -> bool {
        self.provider.mode == BindMode::Stored
    }

    fn query(&self, query: &Query) -> Result<()> {
        let at = position(query);
        if !query.locks.is_empty() {
            return Err(refused("FOR UPDATE", "Leave it out: every statement reads one epoch.", at));
        }
        if query.for_clause.is_some() || query.settings.is_some() || query.format_clause.is_some() {
            return Err(refused("a clause behind the query", "End the query before FOR, SETTINGS or FORMAT.", at));
        }
        if let SetExpr::Table(_) = query.body.as_ref() {
            return Err(refused("TABLE name as a query", "Write SELECT * FROM name.", at));
        }
        columnless::check_with(query)?;
        if !self.stored() {
            return Ok(());
        }
        if query.with.as_ref().is_some_and(|with| with.recursive) {
            return Err(refused_stored("WITH RECURSIVE", "Write the levels out as joins.", at));
        }
        if let Some(LimitClause::LimitOffset { limit_by, .. }) = &query.limit_clause
            && let Some(by) = limit_by.first()
        {
            return Err(refused("LIMIT BY", "Filter by row_number() OVER (PARTITION BY ...).", position(by).max(at)));
        }
        self.set_operations(&query.body)
    }

    fn set_operations(&self, body: &SetExpr) -> Result<()> {
        let SetExpr::SetOperation { op: _, set_quantifier, left, right } = body else { return Ok(()) };
        let at = position(right.as_ref());
        if matches!(set_quantifier, SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName) {
            return Err(refused_stored("UNION BY NAME", "Write the columns in one order and UNION ALL.", at));
        }
        self.set_operations(left)?;
        self.set_operations(right)
    }

    fn select(&self, select: &Select) -> Result<()> {
        let at = position(select);
        if select.from.len() > FROM_MAX {
            return Err(Error::limit(format!("FROM names more than {FROM_MAX} relations"))
                .with_code(sqlstate::STATEMENT_TOO_COMPLEX)
                .with_hint("Split the query into views."));
        }
        if select.into.is_some() {
            return Err(refused("SELECT INTO", "CREATE TABLE, then INSERT INTO ... SELECT.", at));
        }
        if select.top.is_some() {
            return Err(refused("TOP", "Write LIMIT behind the query.", at));
        }
        if !select.lateral_views.is_empty() || !select.connect_by.is_empty() || select.prewhere.is_some() {
            return Err(refused("this clause of another system", "Write plain SELECT ... FROM ... WHERE.", at));
        }
        for from in &select.from {
            for join in &from.joins {
                self.join(&join.join_operator, position(&join.relation))?;
            }
        }
        if !self.stored() {
            return Ok(());
        }
        let modifiers = match &select.group_by {
            GroupByExpr::All(modifiers) => {
                if select.group_by != GroupByExpr::Expressions(Vec::new(), Vec::new()) {
                    return Err(refused_stored("GROUP BY ALL", "Name the columns.", at));
                }
                modifiers
            }
            GroupByExpr::Expressions(_, modifiers) => modifiers,
        };
        match modifiers.is_empty() {
            true => Ok(()),
            false => Err(refused_stored("GROUP BY with modifiers", "Write one view for each grouping.", at)),
        }
    }

    fn join(&self, operator: &JoinOperator, at: usize) -> Result<()> {
        use JoinOperator::*;
        match operator {
            Join(_) | Inner(_) | CrossJoin(_) | StraightJoin(_) | Left(_) | LeftOuter(_) | Right(_) | RightOuter(_)
            | FullOuter(_) | Semi(_) | LeftSemi(_) | RightSemi(_) | Anti(_) | LeftAnti(_) | RightAnti(_) => Ok(()),
            AsOf { .. } => {
                Err(refused("ASOF JOIN in this form", "Write a ASOF JOIN b ON a.key = b.key AND a.time >= b.time.", at))
            }
            CrossApply | OuterApply | ArrayJoin | LeftArrayJoin | InnerArrayJoin => {
                Err(refused("this kind of join", "Write JOIN ... ON.", at))
            }
        }
    }

    fn factor(&self, factor: &TableFactor) -> Result<()> {
        let at = position(factor);
        match factor {
            TableFactor::Table { name, args: Some(_), .. } if set_functions::name_of(name).is_some() => Ok(()),
            TableFactor::Table { version: Some(_), .. } => {
                Err(refused("FOR SYSTEM_TIME AS OF", "Write it behind the relation on the right of a JOIN.", at))
            }
            TableFactor::Table { sample: Some(_), .. } => Err(refused("TABLESAMPLE", "Filter with WHERE.", at)),
            TableFactor::Table { with_hints, index_hints, partitions, json_path, with_ordinality, .. }
                if !with_hints.is_empty()
                    || !index_hints.is_empty()
                    || !partitions.is_empty()
                    || json_path.is_some()
                    || *with_ordinality =>
            {
                Err(refused("this clause behind a relation", "Write the relation's name alone.", at))
            }
            TableFactor::MatchRecognize { .. } => {
                Err(refused("MATCH_RECOGNIZE", "Write the pattern as joins over time.", at))
            }
            TableFactor::Pivot { .. } | TableFactor::Unpivot { .. } => {
                Err(refused("PIVOT", "Write one aggregate with FILTER for each column.", at))
            }
            _ => Ok(()),
        }
    }

    fn expr(&self, expr: &Expr) -> Result<()> {
        columnless::check_value(expr)?;
        match expr {
            Expr::Function(function) => self.function(function, position(expr)),
            Expr::Cast { data_type, .. } if self.stored() && reg_type(data_type).is_some() => {
                Err(refused_stored("a cast to a type of the catalog", "Write the number or the name.", position(expr)))
            }
            _ => Ok(()),
        }
    }

    fn function(&self, function: &Function, at: usize) -> Result<()> {
        let parts: Vec<String> =
            function.name.0.iter().filter_map(|part| part.as_ident()).map(super::super::parse::fold).collect();
        let name = match parts.as_slice() {
            [name] => name.as_str(),
            [schema, name] if schema == "pg_catalog" || schema == "information_schema" => name.as_str(),
            [schema, name] if !self.provider.functions(Some(schema), name).is_empty() => return Ok(()),
            _ => return Err(undefined(&parts.join("."), None, at)),
        };
        let array = name == "array" && matches!(function.args, FunctionArguments::Subquery(_));
        if array || set_functions::list_function(name).is_some() || json_aggregates::is_one(name) {
            return Ok(()); // Rewritten before it is planned.
        }
        if ["tumble", "hop", "cumulate", "session", "descriptor", ASOF, LOOKUP].contains(&name) {
            return Ok(()); // Judged where they stand in FROM; elsewhere the planner does not find them.
        }
        if let Some(mark) = relation_argument(function) {
            return Err(Error::syntax(format!("{name} takes no relation as an argument"))
                .with_hint(
                    "TABLE and PARTITION BY stand in the arguments of TUMBLE, HOP, CUMULATE and SESSION in FROM.",
                )
                .at(mark));
        }
        let name = json_function(name);
        if let Some((what, rewrite)) = reads_only(name) {
            return if self.stored() { Err(refused_stored(&what, rewrite, at)) } else { Ok(()) };
        }
        let session = self.provider.session;
        let scalar = session.scalar_functions().get(name);
        let aggregate = session.aggregate_functions().get(name);
        let over = session.window_functions().get(name);
        if scalar.is_none()
            && aggregate.is_none()
            && over.is_none()
            && !session.higher_order_functions().contains_key(name)
        {
            if !self.provider.functions(None, name).is_empty() {
                return Ok(());
            }
            return Err(undefined(name, self.nearest(name), at));
        }
        if !self.stored() {
            return Ok(());
        }
        if function.over.is_some() {
            return Ok(()); // Judged where it is lowered.
        }
        if over.is_some() && aggregate.is_none() && scalar.is_none() {
            return Err(Error::invalid(format!("window function {name} requires an OVER clause"))
                .with_code(sqlstate::WRONG_OBJECT_TYPE)
                .with_hint(format!("Write {name}(...) OVER (PARTITION BY ... ORDER BY ...)."))
                .at(at));
        }
        if scalar.is_some_and(|scalar| scalar.signature().volatility != Volatility::Immutable) {
            return self.volatile(name, at);
        }
        if aggregate.is_some() && name == "nth_value" {
            return Err(refused_stored(
                &format!("aggregate {name}()"),
                "Aggregate so in the SELECT that reads the view; first_value and last_value work here.",
                at,
            ));
        }
        Ok(())
    }

    /// A function in a stored query whose answer changes by itself: only the clock, where rows come and go by it.
    fn volatile(&self, name: &str, at: usize) -> Result<()> {
        if is_clock(name) && self.clocks.contains(&at) {
            return Ok(());
        }
        let hint = "Filter by it in the SELECT that reads the view, or use the event time of the rows.";
        let what = format!("function {name}(), whose answer changes by itself,");
        Err(refused_stored(&what, if is_clock(name) { CLOCK_HINT } else { hint }, at))
    }

    fn nearest(&self, name: &str) -> Option<String> {
        let scalars = self.provider.session.scalar_functions().keys();
        let aggregates = self.provider.session.aggregate_functions().keys();
        let mut known: Vec<&str> =
            scalars.chain(aggregates).map(String::as_str).filter(|name| !name.starts_with("__")).collect();
        known.extend(self.provider.catalog.function_names());
        known.sort_unstable();
        did_you_mean(name, known)
    }
}

/// Where an argument of `function` is marked as a relation.
fn relation_argument(function: &Function) -> Option<usize> {
    let FunctionArguments::List(list) = &function.args else { return None };
    list.args.iter().find_map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Named { name, .. }))
            if [TABLE_ARGUMENT, PARTITION_ARGUMENT].contains(&name.value.as_str()) =>
        {
            Some(name.span.start.column as usize)
        }
        _ => None,
    })
}

fn undefined(name: &str, hint: Option<String>, at: usize) -> Error {
    let error = Error::invalid(format!("function \"{name}\" does not exist")).with_code(sqlstate::UNDEFINED_FUNCTION);
    let error = if at > 0 { error.at(at) } else { error };
    super::errors::hinted(error, hint)
}
