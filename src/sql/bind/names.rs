//! PostgreSQL's names for the columns of a query: `count`, `?column?`, and the same name twice where SQL gives it twice.

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{self, Expr, Ident, Query, Select, SelectItem, SetExpr, VisitMut, VisitorMut};
use sqlparser::tokenizer::Span;

use super::super::parse::fold;

/// DataFusion wants the names of one SELECT to differ: the second `a` becomes `a` + this + `2`, and loses it again on
/// the way out ([`shown`]).
const AGAIN: char = '\u{1}';

/// The name as the client sees it.
pub(super) fn shown(name: &str) -> &str {
    name.split(AGAIN).next().unwrap_or(name)
}

/// What the item of a SELECT is called that is the `count`-th of its name.
pub(super) fn again(name: &str, count: usize) -> String {
    format!("{name}{AGAIN}{count}")
}

/// Gives every item of every SELECT in `query` the name that PostgreSQL gives it.
pub(super) fn apply(query: &mut Query) {
    let _ = query.visit(&mut Namer);
}

struct Namer;

impl VisitorMut for Namer {
    type Break = ();

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let mut seen: HashMap<String, usize> = HashMap::new();
        // A star may bring the same column once more.
        let star = |item: &SelectItem| matches!(item, SelectItem::QualifiedWildcard(..) | SelectItem::Wildcard(_));
        let starred = select.projection.iter().any(star);
        for item in &mut select.projection {
            let (name, plain) = match item {
                SelectItem::UnnamedExpr(expr) => {
                    (name_of(expr), !starred && matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)))
                }
                SelectItem::ExprWithAlias { alias, .. } => (fold(alias), true),
                SelectItem::ExprWithAliases { .. } | SelectItem::QualifiedWildcard(..) | SelectItem::Wildcard(_) => {
                    continue;
                }
            };
            let count = seen.entry(name.clone()).or_default();
            *count += 1;
            if *count == 1 && (plain || starred && matches!(item, SelectItem::ExprWithAlias { .. })) {
                continue;
            }
            let value = if *count == 1 && !starred { name } else { again(&name, *count) };
            let alias = Ident { value, quote_style: Some('"'), span: Span::empty() };
            match item {
                SelectItem::UnnamedExpr(expr) => {
                    let expr = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
                    *item = SelectItem::ExprWithAlias { expr, alias };
                }
                SelectItem::ExprWithAlias { alias: old, .. } => *old = alias,
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }
}

/// The name of an item without alias.
pub(super) fn name_of(expr: &Expr) -> String {
    let known = match expr {
        Expr::Identifier(ident) => return fold(ident),
        Expr::CompoundIdentifier(idents) => return idents.last().map(fold).unwrap_or_default(),
        Expr::Function(function) => match function.name.0.last().and_then(|part| part.as_ident()) {
            Some(ident) => return fold(ident),
            None => "?column?",
        },
        Expr::Nested(inner) => return name_of(inner),
        Expr::Cast { expr, data_type, .. } => {
            let inner = name_of(expr);
            if inner != "?column?" {
                return inner;
            }
            return type_name(data_type);
        }
        Expr::TypedString(typed) => return type_name(&typed.data_type),
        Expr::Interval(_) => "interval",
        Expr::Case { .. } => "case",
        Expr::Exists { .. } => "exists",
        Expr::Array(_) => "array",
        Expr::Extract { .. } => "extract",
        Expr::Ceil { .. } => "ceil",
        Expr::Floor { .. } => "floor",
        Expr::Position { .. } => "position",
        Expr::Substring { .. } => "substring",
        Expr::Overlay { .. } => "overlay",
        Expr::Trim { trim_where, .. } => match trim_where {
            Some(ast::TrimWhereField::Leading) => "ltrim",
            Some(ast::TrimWhereField::Trailing) => "rtrim",
            Some(ast::TrimWhereField::Both) | None => "btrim",
        },
        Expr::AtTimeZone { .. } => "timezone",
        Expr::Subquery(query) => return subquery_name(query),
        _ => "?column?",
    };
    known.to_string()
}

fn subquery_name(query: &Query) -> String {
    if let SetExpr::Select(select) = query.body.as_ref() {
        match select.projection.first() {
            Some(SelectItem::UnnamedExpr(expr)) => return name_of(expr),
            Some(SelectItem::ExprWithAlias { alias, .. }) => return fold(alias),
            _ => {}
        }
    }
    "?column?".to_string()
}

/// PostgreSQL's internal name of a type, as `SELECT '1'::int` shows it.
fn type_name(ty: &ast::DataType) -> String {
    use ast::DataType;
    match ty {
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => "int4".to_string(),
        DataType::BigInt(_) | DataType::Int8(_) => "int8".to_string(),
        DataType::SmallInt(_) | DataType::Int2(_) => "int2".to_string(),
        DataType::DoublePrecision | DataType::Double(_) | DataType::Float(_) | DataType::Float8 => "float8".to_string(),
        DataType::Real | DataType::Float4 => "float4".to_string(),
        DataType::Numeric(_) | DataType::Decimal(_) | DataType::Dec(_) => "numeric".to_string(),
        DataType::Bool | DataType::Boolean => "bool".to_string(),
        DataType::Varchar(_) | DataType::CharacterVarying(_) => "varchar".to_string(),
        DataType::Timestamp(_, ast::TimezoneInfo::WithTimeZone | ast::TimezoneInfo::Tz) => "timestamptz".to_string(),
        DataType::Timestamp(..) => "timestamp".to_string(),
        DataType::Interval { .. } => "interval".to_string(),
        other => other.to_string().to_lowercase(),
    }
}
