//! PostgreSQL's spellings that catalog queries use, rewritten to what the planner knows: `pg_catalog.` before names of
//! functions, types and operators, COLLATE, `ARRAY(SELECT ...)`, and casts to and from `regclass` and its kin.

use std::ops::ControlFlow;

use sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, CastKind, DataType, ExactNumberInfo, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName, Query, SelectItem, SetExpr,
    TableAlias, TableFactor, TimezoneInfo, Value, VisitMut, VisitorMut,
};

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::functions::is_catalog_function;
use super::keywords;
use super::names::REGS;
use crate::base::{Error, Result};
use crate::catalog::schemas;
use crate::functions::{ARRAY_OF, is_native};
use crate::sql::parse::{fold, visited};

/// Rewrites `query`; names of its columns were given before.
pub(in crate::sql) fn rewrite(query: &mut Query) -> Result<()> {
    visited(query.visit(&mut Rewriter))
}

/// The type of objects' numbers, as the planner is told.
pub(in crate::sql) fn oid_type() -> DataType {
    DataType::Custom(ObjectName::from(vec![Ident::new("oid")]), Vec::new())
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        match function_in_from(factor) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let taken = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
        match rewritten(taken) {
            Ok(rewritten) => {
                *expr = rewritten;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// Functions that give the rows of a relation of the catalog.
const SHOWN_BY: [(&str, &str); 2] =
    [("pg_show_all_settings", "pg_settings"), ("pg_available_extensions", "pg_available_extensions")];

/// A function of one value that stands in FROM: a relation of one row, whose column has the alias's name.
fn function_in_from(factor: &mut TableFactor) -> Result<()> {
    let TableFactor::Table { name, args, alias, with_ordinality: false, .. } = factor else { return Ok(()) };
    let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(fold).collect();
    let (Some(arguments), Some(function)) = (args.as_ref(), parts.last()) else { return Ok(()) };
    let named = |alias: &mut Option<TableAlias>| {
        let name = Ident::with_quote('"', function.clone());
        alias.take().unwrap_or_else(|| TableAlias { explicit: true, name, columns: Vec::new(), at: None })
    };
    if function == keywords::FUNCTION && arguments.args.is_empty() {
        let subquery = parsed(&keywords::rows())?;
        *factor = TableFactor::Derived { lateral: false, subquery, alias: Some(named(alias)), sample: None };
        return Ok(());
    }
    let shown = SHOWN_BY.iter().find(|(shows, _)| shows == function && arguments.args.is_empty());
    if let Some((_, relation)) = shown {
        *name = ObjectName::from(vec![Ident::new(schemas::POSTGRES), Ident::new(*relation)]);
        *args = None;
        return Ok(());
    }
    if !(is_native(function) || is_catalog_function(function)) {
        return Ok(());
    }
    let exprs = arguments.args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    });
    let Some(exprs) = exprs.collect::<Option<Vec<_>>>() else { return Ok(()) };
    let shown = alias.as_ref().map_or_else(|| function.clone(), |alias| fold(&alias.name));
    let item = SelectItem::ExprWithAlias { expr: called(function, exprs), alias: Ident::with_quote('"', shown) };
    let mut query = parsed("SELECT 1")?;
    if let SetExpr::Select(select) = &mut *query.body {
        select.projection = vec![item];
    }
    *factor = TableFactor::Derived { lateral: false, subquery: query, alias: Some(named(alias)), sample: None };
    Ok(())
}

/// A query of ours.
fn parsed(sql: &str) -> Result<Box<Query>> {
    let parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql);
    let query = parser.and_then(|mut parser| parser.parse_query());
    query.map_err(|error| Error::internal(format!("a query of ours does not parse: {error}")))
}

fn rewritten(expr: Expr) -> Result<Expr> {
    Ok(match expr {
        Expr::Function(function) => function_of(function),
        Expr::Cast { kind, expr, data_type, array, format } => {
            if let Some(reg) = reg_type(&data_type) {
                return Ok(call(reg, *expr));
            }
            let data_type = if one_character(&expr, &data_type) { DataType::Text } else { plain_type(data_type) };
            let expr = if is_literal(&expr) { read_number(expr, &data_type) } else { expr };
            Expr::Cast { kind, expr, data_type, array, format }
        }
        Expr::BinaryOp { left, op: op @ (BinaryOperator::Eq | BinaryOperator::NotEq), right } => {
            let (left, right) = match (reg_call(&left), reg_call(&right)) {
                (Some(reg), None) if is_literal(&right) => (left, Box::new(call(reg, *right))),
                (None, Some(reg)) if is_literal(&left) => (Box::new(call(reg, *left)), right),
                _ => (left, right),
            };
            Expr::BinaryOp { left, op, right }
        }
        Expr::BinaryOp { left, op: BinaryOperator::PGCustomBinaryOperator(parts), right } => {
            let op = operator(&parts)?;
            Expr::BinaryOp { left, op, right }
        }
        Expr::Collate { expr, collation } => {
            let name = collation.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.to_lowercase());
            let known = ["default", "c", "posix", "ucs_basic"];
            match name {
                Some(name) if known.contains(&name.as_str()) => *expr,
                _ => {
                    return Err(Error::unsupported(format!("collation {collation} does not exist here"))
                        .with_code("42704")
                        .with_hint("Text is ordered by code point: leave COLLATE out, or write COLLATE \"C\"."));
                }
            }
        }
        Expr::Identifier(ident) if ident.quote_style.is_none() && is_bare_function(&ident) => {
            called(&fold(&ident), Vec::new())
        }
        other => other,
    })
}

/// Functions that are called without parentheses.
fn is_bare_function(ident: &Ident) -> bool {
    ["current_schema", "current_role", "current_catalog", "session_user"].contains(&fold(ident).as_str())
}

fn function_of(mut function: Function) -> Expr {
    let parts: Vec<String> = function.name.0.iter().filter_map(|part| part.as_ident()).map(fold).collect();
    if let [schema, name] = parts.as_slice()
        && schema == schemas::POSTGRES
    {
        function.name = ObjectName::from(vec![Ident::with_quote('"', name.clone())]);
    }
    let name = parts.last().map_or("", String::as_str);
    if json_function(name) != name {
        function.name = ObjectName::from(vec![Ident::new(json_function(name))]);
    }
    match function.args {
        FunctionArguments::Subquery(query) if name == "array" => called(ARRAY_OF, vec![Expr::Subquery(query)]),
        FunctionArguments::None if is_catalog_function(name) => called(name, Vec::new()),
        args => {
            function.args = args;
            Expr::Function(function)
        }
    }
}

/// JSON is kept as JSONB: functions that make the one make the other.
pub(in crate::sql) fn json_function(name: &str) -> &str {
    if name == "json_build_object" { "jsonb_build_object" } else { name }
}

fn called(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::with_quote('"', name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn call(name: &str, arg: Expr) -> Expr {
    called(name, vec![arg])
}

/// The last part of a type's name, if it is one of ours or PostgreSQL's.
fn type_name(ty: &DataType) -> Option<String> {
    let DataType::Custom(name, modifiers) = ty else { return None };
    let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(fold).collect();
    match parts.as_slice() {
        [name] => Some(name.clone()),
        [schema, name] if schema == schemas::POSTGRES || schema == schemas::INFORMATION => Some(name.clone()),
        _ => None,
    }
    .filter(|_| modifiers.is_empty())
}

/// The `reg...` type that `ty` is.
pub(in crate::sql) fn reg_type(ty: &DataType) -> Option<&'static str> {
    let name = type_name(ty).or_else(|| matches!(ty, DataType::Regclass).then(|| "regclass".to_string()))?;
    REGS.iter().find(|(reg, _)| *reg == name).map(|(reg, _)| *reg)
}

/// `ty`, as the planner knows it.
fn plain_type(ty: DataType) -> DataType {
    if let DataType::Array(ArrayElemTypeDef::SquareBracket(element, size)) = ty {
        let element = if reg_type(&element).is_some() { oid_type() } else { plain_type(*element) };
        return DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(element), size));
    }
    let Some(name) = type_name(&ty) else { return ty };
    let array = |element| DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(element), None));
    match name.as_str() {
        "text" | "name" | "char" | "bpchar" | "varchar" | "unknown" | "cstring" | "pg_node_tree" | "aclitem"
        | "sql_identifier" | "character_data" | "yes_or_no" | "inet" => DataType::Text,
        "oid" => oid_type(),
        "xid" | "cid" | "int8" => DataType::BigInt(None),
        "int2" => DataType::SmallInt(None),
        "int4" | "cardinal_number" => DataType::Int(None),
        "float4" => DataType::Real,
        "float8" => DataType::DoublePrecision,
        "bool" => DataType::Boolean,
        "bytea" => DataType::Bytea,
        "uuid" => DataType::Uuid,
        "json" | "jsonb" => DataType::JSONB,
        "date" => DataType::Date,
        "numeric" => DataType::Numeric(ExactNumberInfo::None),
        "time" => DataType::Time(None, TimezoneInfo::None),
        "timestamp" => DataType::Timestamp(None, TimezoneInfo::None),
        "timestamptz" => DataType::Timestamp(None, TimezoneInfo::Tz),
        "interval" => DataType::Interval { fields: None, precision: None },
        "int2vector" => array(DataType::SmallInt(None)),
        "oidvector" => array(oid_type()),
        _ => ty,
    }
}

fn is_literal(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)))
}

/// `'f'::char`: the only length of CHAR that means what text means.
fn one_character(expr: &Expr, ty: &DataType) -> bool {
    let single = |value: &Value| matches!(value, Value::SingleQuotedString(text) if text.chars().count() == 1);
    matches!(ty, DataType::Char(None) | DataType::Character(None))
        && matches!(expr, Expr::Value(value) if single(&value.value))
}

/// A text that is to be a number of an object, or an array of them, is read as bigint is.
fn read_number(expr: Box<Expr>, ty: &DataType) -> Box<Expr> {
    let data_type = match ty {
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, size)) if **element == oid_type() => {
            DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(DataType::BigInt(None)), *size))
        }
        ty if *ty == oid_type() => DataType::BigInt(None),
        _ => return expr,
    };
    Box::new(Expr::Cast { kind: CastKind::DoubleColon, expr, data_type, array: false, format: None })
}

/// The `reg...` type of a cast that was rewritten.
fn reg_call(expr: &Expr) -> Option<&'static str> {
    match expr {
        Expr::Nested(inner) => reg_call(inner),
        Expr::Function(function) => {
            let name = function.name.0.last()?.as_ident()?;
            REGS.iter().find(|(reg, _)| *reg == name.value).map(|(reg, _)| *reg)
        }
        _ => None,
    }
}

/// `OPERATOR(schema.op)`.
fn operator(parts: &[String]) -> Result<BinaryOperator> {
    let op = match parts {
        [op] => op.as_str(),
        [schema, op] if schema == schemas::POSTGRES => op.as_str(),
        _ => "",
    };
    Ok(match op {
        "=" => BinaryOperator::Eq,
        "<>" | "!=" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "~~*" => BinaryOperator::PGILikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "!~~*" => BinaryOperator::PGNotILikeMatch,
        "||" => BinaryOperator::StringConcat,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        "%" => BinaryOperator::Modulo,
        "@>" => BinaryOperator::AtArrow,
        "<@" => BinaryOperator::ArrowAt,
        "&&" => BinaryOperator::PGOverlap,
        _ => {
            return Err(Error::unsupported(format!("operator does not exist: {}", parts.join(".")))
                .with_code("42883")
                .with_hint("Operators of pg_catalog may be written so; leave OPERATOR( ) out."));
        }
    })
}
