//! Functions that return several rows: `unnest`, `generate_series` and their kin, in FROM and in the list of a SELECT.
//!
//! Each is a function of ours that gives an array (`functions/scalar/sets.rs`), and an [`Unnest`] that spreads rows over it.
//! In FROM they are planned here; in expressions they are calls of `__rows` until `spread.rs` takes them out.

use std::ops::ControlFlow;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result as PlanResult};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Expr as LogicalExpr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, cast, col, lit};
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, Query, Spanned, TableAlias,
    TableAliasColumnDef, TableFactor, Value, VisitMut, VisitorMut,
};

use super::super::parse::{fold, visited};
use super::BindMode;
use super::errors::{carry, translate};
use super::operators::call;
use super::spread::ROWS;
use crate::base::{Error, Result, sqlstate};
use crate::functions::native_call;
use crate::plan::Unnest;
use crate::types::SqlType;

/// The function that gives the rows of `name` as an array; `None`: no function of several rows has this name.
pub(super) fn list_function(name: &str) -> Option<&'static str> {
    Some(match name {
        "unnest" => "",
        "generate_series" => "__series",
        "generate_subscripts" => "__subscripts",
        "_pg_expandarray" => "__expand_array",
        "jsonb_array_elements" => "__json_elements",
        "jsonb_array_elements_text" => "__json_elements_text",
        "jsonb_object_keys" => "__json_keys",
        "jsonb_each" => "__json_each",
        "jsonb_each_text" => "__json_each_text",
        "regexp_split_to_table" => "regexp_split_to_array",
        "string_to_table" => "string_to_array",
        _ => return None,
    })
}

/// The name of a function of several rows, by itself or in `pg_catalog`.
pub(super) fn name_of(name: &ObjectName) -> Option<String> {
    let parts: Option<Vec<String>> = name.0.iter().map(|part| part.as_ident().map(fold)).collect();
    let name = match parts?.as_slice() {
        [name] => name.clone(),
        [schema, name] if schema == "pg_catalog" || schema == "information_schema" => name.clone(),
        _ => return None,
    };
    list_function(&name).map(|_| name)
}

/// Rewrites what `query` says of such functions: in FROM they may name what stands before them, in expressions they are
/// `__rows(array)`.
pub(super) fn rewrite(query: &mut Query) -> Result<()> {
    visited(query.visit(&mut Rewriter))
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        if let TableFactor::Table { name, args: Some(arguments), alias, with_ordinality, .. } = factor
            && name_of(name).is_some()
        {
            *factor = TableFactor::Function {
                lateral: true,
                name: name.clone(),
                args: std::mem::take(&mut arguments.args),
                with_ordinality: *with_ordinality,
                alias: alias.take(),
            };
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let Some(name) = name_of(&function.name) else { return ControlFlow::Continue(()) };
        match arguments_of(function, &name) {
            Ok(args) => match list(&name, args, function.name.span().start.column as usize) {
                Ok(list) => *expr = call(ROWS, vec![list]),
                Err(error) => return ControlFlow::Break(error),
            },
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

fn arguments_of(function: &Function, name: &str) -> Result<Vec<Expr>> {
    let at = function.name.span().start.column as usize;
    let FunctionArguments::List(list) = &function.args else { return Err(wrong_arguments(name, at)) };
    let plain = function.over.is_none()
        && function.filter.is_none()
        && function.within_group.is_empty()
        && list.duplicate_treatment.is_none()
        && list.clauses.is_empty();
    if !plain {
        return Err(Error::invalid(format!("{name} is a function of several rows, not an aggregate"))
            .with_code(sqlstate::WRONG_OBJECT_TYPE)
            .with_hint(format!("Write {name}(...) alone, without OVER, FILTER, DISTINCT or ORDER BY."))
            .at(at));
    }
    expressions(&list.args).ok_or_else(|| wrong_arguments(name, at))
}

/// The arguments, if they are plain expressions.
pub(super) fn expressions(args: &[FunctionArg]) -> Option<Vec<Expr>> {
    let expr = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    args.iter().map(expr).collect()
}

fn wrong_arguments(name: &str, at: usize) -> Error {
    let usage = match name {
        "unnest" => "unnest(array)",
        "generate_series" => "generate_series(start, stop [, step])",
        "generate_subscripts" => "generate_subscripts(array, 1)",
        "_pg_expandarray" => "one array",
        "regexp_split_to_table" | "string_to_table" => "the text and what separates its parts",
        _ => "one jsonb value",
    };
    Error::invalid(format!("{name} does not take these arguments"))
        .with_code(sqlstate::UNDEFINED_FUNCTION)
        .with_hint(format!("It takes {usage}."))
        .at(at)
}

/// The array whose elements `name` returns.
fn list(name: &str, mut args: Vec<Expr>, at: usize) -> Result<Expr> {
    match list_function(name) {
        Some("") if args.len() == 1 => Ok(args.remove(0)),
        Some("") | None => Err(wrong_arguments(name, at)),
        Some(function) => Ok(call(function, args)),
    }
}

/// Plans such functions in FROM; everything else is left to others.
#[derive(Debug)]
pub(super) struct SetFunctions {
    pub mode: BindMode,
}

impl RelationPlanner for SetFunctions {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> PlanResult<RelationPlanning> {
        let Some(call) = SetCall::of(&relation).map_err(carry)? else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let (plan, names) = match self.mode {
            BindMode::Read => call.plan_numbers(context)?.map_or_else(|| call.plan(context), Ok)?,
            BindMode::Stored => call.plan(context)?,
        };
        let alias = call.alias.map(|alias| named(alias, &names));
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

/// An alias that names every column: where it says nothing, a single column has the alias's own name.
fn named(mut alias: TableAlias, names: &[String]) -> TableAlias {
    let ident = |name: &str| sqlparser::ast::Ident::with_quote('"', name);
    for (i, name) in names.iter().enumerate().skip(alias.columns.len()) {
        let own = if i == 0 && is_scalar(names) { fold(&alias.name) } else { name.clone() };
        alias.columns.push(TableAliasColumnDef { name: ident(&own), data_type: None });
    }
    alias
}

const ORDINALITY: &str = "ordinality";

fn is_scalar(names: &[String]) -> bool {
    matches!(names, [_]) || matches!(names, [_, second] if second == ORDINALITY)
}

/// Functions of several rows in FROM, side by side.
struct SetCall {
    /// Each by name and array.
    lists: Vec<(String, Expr)>,
    ordinality: bool,
    position: usize,
    alias: Option<TableAlias>,
}

impl SetCall {
    fn of(relation: &TableFactor) -> Result<Option<SetCall>> {
        let position = relation.span().start.column as usize;
        Ok(Some(match relation {
            TableFactor::Function { name, args, with_ordinality, alias, .. } => {
                let Some(function) = name_of(name) else { return Ok(None) };
                let args = expressions(args).ok_or_else(|| wrong_arguments(&function, position))?;
                let lists = match function.as_str() {
                    "unnest" => args.into_iter().map(|arg| (function.clone(), arg)).collect(),
                    _ => vec![(function.clone(), list(&function, args, position)?)],
                };
                SetCall { lists, ordinality: *with_ordinality, position, alias: alias.clone() }
            }
            TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality, .. } => SetCall {
                lists: array_exprs.iter().map(|list| ("unnest".to_string(), list.clone())).collect(),
                ordinality: *with_ordinality,
                position,
                alias: alias.clone(),
            },
            TableFactor::UNNEST { .. } => {
                return Err(Error::unsupported("UNNEST ... WITH OFFSET is not supported")
                    .with_hint("Write UNNEST(...) WITH ORDINALITY, which counts from 1.")
                    .at(position));
            }
            _ => return Ok(None),
        }))
    }

    /// The rows, and the names of their columns.
    fn plan(&self, context: &mut dyn RelationPlannerContext) -> PlanResult<(LogicalPlan, Vec<String>)> {
        let none = DFSchema::empty();
        let mut lists = Vec::new();
        for (function, list) in &self.lists {
            let at = Some(list.span().start.column as usize).filter(|&at| at > 0).unwrap_or(self.position);
            let planned =
                context.sql_to_expr(list.clone(), &none).map_err(|error| carry(translate(error, Some(at))))?;
            let ty = planned.get_type(&none).map_err(|error| carry(translate(error, Some(at))))?;
            let DataType::List(_) = ty else { return Err(carry(self.no_array(function, &ty, at))) };
            lists.push(planned);
        }
        if lists.is_empty() {
            return Err(carry(wrong_arguments("unnest", self.position)));
        }
        let ordinals = self.ordinality.then(|| native_call("__ordinals", lists.clone()));
        let columns = lists.into_iter().chain(ordinals).enumerate().map(|(i, list)| (format!("__unnest_{i}"), list));
        let columns: Vec<(String, LogicalExpr)> = columns.collect();
        let one = LogicalPlanBuilder::empty(true).build()?;
        let unnest = Unnest::new(one, columns.clone())?.into_plan();
        let mut shown = Vec::new();
        for (i, (name, _)) in columns.iter().enumerate() {
            let own = self.lists.get(i).map_or(ORDINALITY, |(function, _)| function);
            match unnest.schema().field_with_unqualified_name(name)?.data_type() {
                // Rows come as their fields.
                DataType::Struct(fields) => shown.extend(fields.iter().map(|field| {
                    (field.name().clone(), native_call("__field", vec![col(name), lit(field.name().as_str())]))
                })),
                _ => shown.push((own.to_string(), col(name))),
            }
        }
        let names: Vec<String> = shown.iter().map(|(name, _)| name.clone()).collect();
        // Two columns of one name would not be told apart; PostgreSQL allows them as long as nobody names them.
        let unique = |i: usize, name: &String| match names[..i].contains(name) {
            true => format!("{name}_{}", i + 1),
            false => name.clone(),
        };
        let names: Vec<String> = names.iter().enumerate().map(|(i, name)| unique(i, name)).collect();
        let shown = shown.into_iter().zip(&names).map(|((_, expr), name)| expr.alias(name));
        let plan = LogicalPlanBuilder::from(unnest).project(shown.collect::<Vec<_>>())?.build()?;
        Ok((plan, names))
    }

    fn no_array(&self, function: &str, ty: &DataType, at: usize) -> Error {
        let shown = SqlType::from_arrow(ty).map_or_else(|_| "unknown".to_string(), |ty| ty.to_string());
        Error::invalid(format!("function {function}({shown}) does not exist"))
            .with_code(sqlstate::UNDEFINED_FUNCTION)
            .with_hint("It takes an array: cast the argument, or use jsonb_array_elements for JSONB.")
            .at(at)
    }

    /// `generate_series` of constants in a read: DataFusion makes the numbers as they are asked for.
    fn plan_numbers(&self, context: &mut dyn RelationPlannerContext) -> PlanResult<Option<(LogicalPlan, Vec<String>)>> {
        let [(function, Expr::Function(series))] = self.lists.as_slice() else { return Ok(None) };
        if function != "generate_series" || self.ordinality {
            return Ok(None);
        }
        let Ok(args) = arguments_of(series, function) else { return Ok(None) };
        let Some(numbers) = args.iter().map(whole).collect::<Option<Vec<i64>>>() else { return Ok(None) };
        if !(2..=3).contains(&numbers.len()) {
            return Ok(None);
        }
        let args = numbers.iter().map(|number| lit(*number)).collect();
        let source = context.context_provider().get_table_function_source(function, args)?;
        let column = source_as_provider(&source)?.schema().field(0).name().clone();
        let small = numbers.iter().all(|number| i32::try_from(*number).is_ok());
        let ty = if small { DataType::Int32 } else { DataType::Int64 };
        let plan = LogicalPlanBuilder::scan(format!("{function}()"), source, None)?
            .project([cast(col(column), ty).alias(function)])?
            .build()?;
        Ok(Some((plan, vec![function.clone()])))
    }
}

/// A whole number, if the expression is one.
fn whole(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        Expr::UnaryOp { op: sqlparser::ast::UnaryOperator::Minus, expr } => whole(expr)?.checked_neg(),
        Expr::Nested(inner) => whole(inner),
        _ => None,
    }
}
