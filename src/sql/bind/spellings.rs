//! Other engines' names for what has a name here, rewritten before anything is looked up:
//!
//! | written | means |
//! |---|---|
//! | `if(c, a, b)` | `CASE WHEN c THEN a ELSE b END` |
//! | `locate(part, s)`, `truncate(x, n)`, `listagg(x, d)`, `approx_count_distinct(x)` | `strpos(s, part)`, `trunc(x, n)`, `string_agg(x, d)`, `approx_distinct(x)` |
//! | `unix_timestamp(t)`, `timestampadd(unit, n, t)`, `timestampdiff(unit, a, b)`, `FLOOR(t TO unit)`, `CEIL(t TO unit)` | arithmetic of times, as in Flink |
//! | `max_by(x, y)`, `arg_max(x, y)`, `min_by`, `arg_min` | `first_value(x ORDER BY y DESC) FILTER (WHERE y IS NOT NULL)` |
//! | `num_nulls(...)`, `num_nonnulls(...)` | a sum of tests |
//! | `percentile_cont(ARRAY[a, b]) WITHIN GROUP ...` | `ARRAY[percentile_cont(a) WITHIN GROUP ..., ...]` |
//! | `CAST(x AS VARCHAR(n))` | `left(CAST(x AS VARCHAR), n)` |
//! | `ROLLUP ((a, b), c)`, `GROUPING SETS (a, ROLLUP (b, c))` | GROUPING SETS of lists |

use std::ops::ControlFlow;

use sqlparser::ast::{
    Array, CastKind, CeilFloorKind, CharacterLength, DataType, DateTimeField, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentClause, FunctionArguments, GroupByExpr, Ident, ObjectName, OrderByExpr,
    OrderByOptions, Query, Select, Value, VisitMut, VisitorMut, visit_expressions_mut,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::super::parse::{fold, visited};
use super::operators::call;
use crate::base::{Error, Result};

/// The most grouping sets that one ROLLUP or CUBE stands for, as in PostgreSQL.
const SETS_MAX: usize = 4096;

/// Rewrites what stands in `query`.
pub(super) fn rewrite(query: &mut Query) -> Result<()> {
    visited(query.visit(&mut Rewriter))
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = Error;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
            for key in keys {
                match grouping_sets(key) {
                    Ok(None) => {}
                    Ok(Some(sets)) => *key = Expr::GroupingSets(sets),
                    Err(error) => return ControlFlow::Break(error),
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        match rewritten(expr) {
            Ok(None) => {}
            Ok(Some(new)) => *expr = new,
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

/// What `expr` means, if it is one of the head of this file.
fn rewritten(expr: &Expr) -> Result<Option<Expr>> {
    match expr {
        Expr::Function(function) => of_function(function),
        Expr::Floor { expr, field: CeilFloorKind::DateTimeField(field) } => match unit_of(field) {
            Some(unit) => template(&format!("date_trunc('{unit}', $1)"), &[expr.as_ref().clone()]).map(Some),
            None => Ok(None),
        },
        Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(field) } => match unit_of(field) {
            Some(unit) => {
                let first = format!("date_trunc('{unit}', $1)");
                let next = format!("{first} + {}", span_of(&unit));
                template(&format!("CASE WHEN {first} = $1 THEN $1 ELSE {next} END"), &[expr.as_ref().clone()]).map(Some)
            }
            None => Ok(None),
        },
        Expr::Cast { kind: kind @ (CastKind::Cast | CastKind::DoubleColon), expr, data_type, array: false, format } => {
            let Some(length) = length_of(data_type) else { return Ok(None) };
            let (expr, data_type) = (expr.clone(), DataType::Varchar(None));
            let text = Expr::Cast { kind: kind.clone(), expr, data_type, array: false, format: format.clone() };
            let length = Expr::Value(Value::Number(length.to_string(), false).into());
            Ok(Some(call("left", vec![text, length])))
        }
        _ => Ok(None),
    }
}

/// How many characters a type like VARCHAR(10) takes.
pub(super) fn length_of(ty: &DataType) -> Option<i32> {
    match ty {
        DataType::Varchar(Some(CharacterLength::IntegerLength { length, .. }))
        | DataType::CharacterVarying(Some(CharacterLength::IntegerLength { length, .. }))
        | DataType::CharVarying(Some(CharacterLength::IntegerLength { length, .. })) => {
            // PostgreSQL's bounds of the length.
            i32::try_from(*length).ok().filter(|length| (1..=10_485_760).contains(length))
        }
        _ => None,
    }
}

fn of_function(function: &Function) -> Result<Option<Expr>> {
    let [name] = function.name.0.as_slice() else { return Ok(None) };
    let Some(name) = name.as_ident().map(fold) else { return Ok(None) };
    let FunctionArguments::List(list) = &function.args else { return Ok(None) };
    let args: Option<Vec<Expr>> = list.args.iter().map(plain).collect();
    let Some(args) = args else { return Ok(None) };
    Ok(match (name.as_str(), args.as_slice()) {
        ("if", [_, _, _]) => Some(template("CASE WHEN $1 THEN $2 ELSE $3 END", &args)?),
        ("locate", [_, _]) => Some(template("strpos($2, $1)", &args)?),
        ("truncate", [_] | [_, _]) => Some(call("trunc", args)),
        ("unix_timestamp", [_]) => {
            Some(template("CAST(floor(extract(epoch FROM CAST($1 AS TIMESTAMP))) AS BIGINT)", &args)?)
        }
        ("timestampadd", [unit, _, _]) => match unit_named(unit) {
            Some(unit) => Some(template(&format!("$3 + $2 * {}", span_of(&unit)), &args)?),
            None => None,
        },
        ("timestampdiff", [unit, _, _]) => match unit_named(unit).and_then(|unit| difference(&unit)) {
            Some(sql) => Some(template(&sql, &args)?),
            None => None,
        },
        ("listagg", [_]) => Some(renamed(function, "string_agg", Some(Value::SingleQuotedString(",".to_owned())))),
        ("listagg", [_, _]) => Some(renamed(function, "string_agg", None)),
        ("approx_count_distinct", [_]) => Some(renamed(function, "approx_distinct", None)),
        ("max_by" | "arg_max", [value, by]) => Some(best(function, value, by, false)),
        ("min_by" | "arg_min", [value, by]) => Some(best(function, value, by, true)),
        ("num_nulls", [_, ..]) => Some(tests(&args, "CAST($1 IS NULL AS INT)")?),
        ("num_nonnulls", [_, ..]) => Some(tests(&args, "CAST($1 IS NOT NULL AS INT)")?),
        ("percentile_cont" | "percentile_disc", [Expr::Array(fractions)]) => {
            let each = fractions.elem.iter().map(|fraction| {
                let mut one = function.clone();
                if let FunctionArguments::List(list) = &mut one.args {
                    list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(fraction.clone()))];
                }
                Expr::Function(one)
            });
            Some(Expr::Array(Array { elem: each.collect(), named: true }))
        }
        _ => None,
    })
}

fn plain(arg: &FunctionArg) -> Option<Expr> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    }
}

/// `function` by another name, perhaps with a further argument.
fn renamed(function: &Function, name: &str, more: Option<Value>) -> Expr {
    let mut function = function.clone();
    function.name = ObjectName::from(vec![Ident::new(name)]);
    if let FunctionArguments::List(list) = &mut function.args {
        list.args.extend(more.map(|value| FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value.into())))));
    }
    Expr::Function(function)
}

/// `value` of the row where `by` is largest, or smallest.
fn best(function: &Function, value: &Expr, by: &Expr, smallest: bool) -> Expr {
    let mut function = function.clone();
    function.name = ObjectName::from(vec![Ident::new("first_value")]);
    let known = Expr::IsNotNull(Box::new(Expr::Nested(Box::new(by.clone()))));
    function.filter = Some(Box::new(match function.filter.take() {
        None => known,
        Some(filter) => Expr::BinaryOp {
            left: Box::new(Expr::Nested(filter)),
            op: sqlparser::ast::BinaryOperator::And,
            right: Box::new(known),
        },
    }));
    if let FunctionArguments::List(list) = &mut function.args {
        list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(value.clone()))];
        let options = OrderByOptions { asc: Some(smallest), nulls_first: None };
        let order = OrderByExpr { expr: by.clone(), options, with_fill: None };
        list.clauses = vec![FunctionArgumentClause::OrderBy(vec![order])];
    }
    Expr::Function(function)
}

fn tests(args: &[Expr], test: &str) -> Result<Expr> {
    let mut sum: Option<Expr> = None;
    for arg in args {
        let one = template(test, std::slice::from_ref(arg))?;
        sum = Some(match sum {
            None => one,
            Some(sum) => {
                Expr::BinaryOp { left: Box::new(sum), op: sqlparser::ast::BinaryOperator::Plus, right: Box::new(one) }
            }
        });
    }
    sum.map(|sum| Expr::Nested(Box::new(sum))).ok_or_else(|| Error::internal("a sum of nothing"))
}

/// Units of time that are all of one kind, in lower case.
const UNITS: [&str; 8] = ["second", "minute", "hour", "day", "week", "month", "quarter", "year"];

fn unit_of(field: &DateTimeField) -> Option<String> {
    let name = field.to_string().to_lowercase();
    UNITS.contains(&name.as_str()).then_some(name)
}

/// The unit that an argument names: a bare word.
fn unit_named(arg: &Expr) -> Option<String> {
    let Expr::Identifier(ident) = arg else { return None };
    let name = fold(ident);
    let name = name.strip_prefix("sql_tsi_").unwrap_or(&name);
    UNITS.contains(&name).then(|| name.to_owned())
}

fn span_of(unit: &str) -> String {
    if unit == "quarter" { "INTERVAL '3 months'".to_owned() } else { format!("INTERVAL '1 {unit}'") }
}

/// How many whole units lie between $2 and $3.
fn difference(unit: &str) -> Option<String> {
    let seconds = match unit {
        "second" => 1,
        "minute" => 60,
        "hour" => 3_600,
        "day" => 86_400,
        "week" => 604_800,
        _ => {
            let months = match unit {
                "month" => 1,
                "quarter" => 3,
                "year" => 12,
                _ => return None,
            };
            let age = "age(CAST($3 AS TIMESTAMP), CAST($2 AS TIMESTAMP))";
            let whole = format!("(extract(year FROM {age}) * 12 + extract(month FROM {age}))");
            return Some(format!("CAST(trunc({whole} / {months}) AS INT)"));
        }
    };
    let span = "(CAST($3 AS TIMESTAMP) - CAST($2 AS TIMESTAMP))";
    Some(format!("CAST(trunc(extract(epoch FROM {span}) / {seconds}) AS INT)"))
}

/// The expression `sql` with `args` for $1, $2, ...
fn template(sql: &str, args: &[Expr]) -> Result<Expr> {
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).and_then(|mut parser| parser.parse_expr());
    let mut expr = parsed.map_err(|error| Error::internal(format!("an expression of ours does not parse: {error}")))?;
    let _ = visit_expressions_mut(&mut expr, |expr| {
        if let Expr::Value(value) = expr
            && let Value::Placeholder(name) = &value.value
            && let Some(arg) = name[1..].parse::<usize>().ok().and_then(|number| args.get(number.wrapping_sub(1)))
        {
            *expr = Expr::Nested(Box::new(arg.clone()));
        }
        ControlFlow::<()>::Continue(())
    });
    Ok(expr)
}

/// The lists of keys that `key` of GROUP BY stands for, where the planner does not know its form.
fn grouping_sets(key: &Expr) -> Result<Option<Vec<Vec<Expr>>>> {
    let composite = |lists: &[Vec<Expr>]| lists.iter().any(|list| list.len() != 1);
    Ok(match key {
        Expr::Rollup(lists) if composite(lists) => Some(rollup(lists)?),
        Expr::Cube(lists) if composite(lists) => Some(cube(lists)?),
        Expr::GroupingSets(lists) if lists.iter().any(|list| nested(list).is_some()) => {
            let mut all = Vec::new();
            for list in lists {
                match nested(list) {
                    None => all.push(list.clone()),
                    Some((true, parts)) => all.extend(cube(&parts)?),
                    Some((false, parts)) => all.extend(rollup(&parts)?),
                }
                bounded(all.len())?;
            }
            Some(all)
        }
        _ => None,
    })
}

/// ROLLUP (...) or CUBE (...; true) within GROUPING SETS, which reads as a call.
fn nested(list: &[Expr]) -> Option<(bool, Vec<Vec<Expr>>)> {
    let [Expr::Function(function)] = list else { return None };
    let [name] = function.name.0.as_slice() else { return None };
    let is_cube = match fold(name.as_ident()?).as_str() {
        "cube" => true,
        "rollup" => false,
        _ => return None,
    };
    let FunctionArguments::List(args) = &function.args else { return None };
    let parts = args.args.iter().map(|arg| {
        Some(match plain(arg)? {
            Expr::Tuple(parts) => parts,
            Expr::Nested(part) => vec![*part],
            part => vec![part],
        })
    });
    Some((is_cube, parts.collect::<Option<_>>()?))
}

fn rollup(lists: &[Vec<Expr>]) -> Result<Vec<Vec<Expr>>> {
    bounded(lists.len())?;
    Ok((0..=lists.len()).rev().map(|upto| lists[..upto].concat()).collect())
}

fn cube(lists: &[Vec<Expr>]) -> Result<Vec<Vec<Expr>>> {
    bounded(1usize.checked_shl(lists.len() as u32).unwrap_or(usize::MAX))?;
    let sets = (0..1usize << lists.len()).rev().map(|chosen| {
        let parts = lists.iter().enumerate().filter(|(i, _)| chosen >> (lists.len() - 1 - i) & 1 == 1);
        parts.flat_map(|(_, list)| list.clone()).collect()
    });
    Ok(sets.collect())
}

fn bounded(sets: usize) -> Result<()> {
    if sets <= SETS_MAX {
        return Ok(());
    }
    Err(Error::invalid(format!("too many grouping sets present (maximum {SETS_MAX})")).with_code("54001"))
}
