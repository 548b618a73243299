//! ORDER BY of an input column beside an output column of the same name.
//!
//! ```text
//! SELECT r.a AS b FROM r ORDER BY r.b LIMIT 1
//!   SELECT * EXCEPT (__order_1) FROM (SELECT r.a AS b, r.b AS __order_1 FROM r) ORDER BY __order_1 LIMIT 1
//! ```
//!
//! DataFusion puts both into one projection, where they cannot be told apart.

use std::ops::ControlFlow;

use sqlparser::ast::{
    ExceptSelectItem, Expr, GroupByExpr, Ident, LimitClause, OrderByKind, Query, Select, SelectItem, SetExpr,
    TableAlias, TableFactor, TableWithJoins, Value, VisitMut, VisitorMut, WildcardAdditionalOptions, visit_expressions,
};

use super::super::parse::fold;

/// Rewrites every such query in `query`.
pub(super) fn rewrite(query: &mut Query) {
    let _ = query.visit(&mut Rewriter);
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = ();

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let SetExpr::Select(select) = query.body.as_ref()
            && select.distinct.is_none()
            && let Some(order) = &query.order_by
            && let OrderByKind::Expressions(order) = &order.kind
            && order.iter().any(|item| clashes(&item.expr, select))
        {
            hide(query);
        }
        ControlFlow::Continue(())
    }
}

/// The name of an output column that is not the input column of that name.
fn output(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
        _ => None,
    }
}

fn clashes(expr: &Expr, select: &Select) -> bool {
    let mut found = false;
    let _ = visit_expressions(expr, |expr| {
        if let Expr::CompoundIdentifier(parts) = expr
            && let Some(last) = parts.last()
        {
            let another =
                |item: &&SelectItem| !matches!(item, SelectItem::ExprWithAlias { expr: own, .. } if own == expr);
            let named = |item: &SelectItem| output(item).is_some_and(|name| name == fold(last));
            found |= select.projection.iter().filter(another).any(named);
        }
        ControlFlow::<()>::Continue(())
    });
    found
}

fn hide(query: &mut Query) {
    let Some(order) = &mut query.order_by else { return };
    let (SetExpr::Select(select), OrderByKind::Expressions(items)) = (query.body.as_mut(), &mut order.kind) else {
        return;
    };
    let outputs: Vec<String> = select.projection.iter().filter_map(output).collect();
    let mut hidden = Vec::new();
    for item in items {
        let stays = match &item.expr {
            Expr::Identifier(ident) => outputs.contains(&fold(ident)),
            Expr::Value(value) => matches!(value.value, Value::Number(..)),
            _ => false,
        };
        if !stays {
            let alias = Ident::with_quote('"', format!("__order_{}", hidden.len() + 1));
            let expr = std::mem::replace(&mut item.expr, Expr::Identifier(alias.clone()));
            select.projection.push(SelectItem::ExprWithAlias { expr, alias: alias.clone() });
            hidden.push(alias);
        }
    }
    let mut names = hidden.into_iter();
    let Some(first_element) = names.next() else { return };
    let except = ExceptSelectItem { first_element, additional_elements: names.collect() };
    let all = WildcardAdditionalOptions { opt_except: Some(except), ..WildcardAdditionalOptions::default() };
    let outer = Select {
        projection: vec![SelectItem::Wildcard(all)],
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        from: Vec::new(),
        selection: None,
        having: None,
        qualify: None,
        named_window: Vec::new(),
        sort_by: Vec::new(),
        ..select.as_ref().clone()
    };
    let body = std::mem::replace(&mut query.body, Box::new(SetExpr::Select(Box::new(outer))));
    let inner =
        Query { with: None, body, order_by: None, limit_clause: None::<LimitClause>, fetch: None, ..query.clone() };
    let name = TableAlias { explicit: true, name: Ident::with_quote('"', "__ordered"), columns: Vec::new(), at: None };
    let relation = TableFactor::Derived { lateral: false, subquery: Box::new(inner), alias: Some(name), sample: None };
    if let SetExpr::Select(outer) = query.body.as_mut() {
        outer.from = vec![TableWithJoins { relation, joins: Vec::new() }];
    }
}
