//! PostgreSQL's spellings that catalog queries use, rewritten to what the planner knows: `pg_catalog.` before names of
//! functions, types and operators, COLLATE, `ARRAY(SELECT ...)`, and casts to and from `regclass` and its kin.

use std::ops::ControlFlow;

use sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, DataType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, Query, SelectItem, SetExpr, TimezoneInfo, VisitMut,
    VisitorMut,
};

use super::functions::is_catalog_function;
use super::names::REGS;
use crate::base::{Error, Result};
use crate::catalog::schemas;
use crate::sql::parse::fold;

/// The function that makes an array of the rows of its argument, a sub-query.
const ARRAY_OF: &str = crate::serving::ARRAY_OF;

/// Rewrites `query`; names of its columns were given before.
pub(in crate::sql) fn rewrite(query: &mut Query) -> Result<()> {
    if let ControlFlow::Break(error) = query.visit(&mut Rewriter) {
        return Err(error);
    }
    show(&mut query.body);
    Ok(())
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = Error;

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

fn rewritten(expr: Expr) -> Result<Expr> {
    Ok(match expr {
        Expr::Function(function) => function_of(function),
        Expr::Cast { kind, expr, data_type, array, format } => {
            if let Some(reg) = reg_type(&data_type) {
                return Ok(call(reg, *expr));
            }
            let data_type = plain_type(data_type);
            match reg_call(&expr) {
                Some(reg) if is_text(&data_type) => name_of(reg, *expr),
                _ => Expr::Cast { kind, expr, data_type, array, format },
            }
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
        let element = if reg_type(&element).is_some() { DataType::BigInt(None) } else { plain_type(*element) };
        return DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(element), size));
    }
    let Some(name) = type_name(&ty) else { return ty };
    let array = |element| DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(element), None));
    match name.as_str() {
        "text" | "name" | "char" | "bpchar" | "varchar" | "unknown" | "cstring" | "pg_node_tree" | "aclitem"
        | "sql_identifier" | "character_data" | "yes_or_no" | "inet" => DataType::Text,
        "oid" | "xid" | "cid" | "int8" => DataType::BigInt(None),
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
        "oidvector" => array(DataType::BigInt(None)),
        _ => ty,
    }
}

fn is_text(ty: &DataType) -> bool {
    matches!(ty, DataType::Text | DataType::Varchar(_) | DataType::CharacterVarying(_))
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

/// The name of what a `reg...` value is the number of.
fn name_of(reg: &str, value: Expr) -> Expr {
    call(&format!("__{reg}_name"), value)
}

/// Clients are shown names where the query gives `reg...` values.
fn show(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            for item in &mut select.projection {
                let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { continue };
                if let Some(reg) = reg_call(expr) {
                    let value = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
                    *expr = name_of(reg, value);
                }
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            show(left);
            show(right);
        }
        _ => {}
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
