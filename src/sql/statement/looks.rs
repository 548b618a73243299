//! Whether an UPDATE looks at the rows that it changes.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, FunctionArguments, visit_expressions};

use super::Update;

impl Update {
    /// Whether it names columns of its table beyond those that it sets, or may read it in a sub-query (`count(*)` and
    /// `SELECT *` name no column).
    pub fn looks_at_columns(&self) -> bool {
        let names_column = |expr: &Expr| {
            let found = visit_expressions(expr, |part| match part {
                Expr::Identifier(_)
                | Expr::CompoundIdentifier(_)
                | Expr::Subquery(_)
                | Expr::Exists { .. }
                | Expr::InSubquery { .. } => ControlFlow::Break(()),
                Expr::Function(call) if matches!(call.args, FunctionArguments::Subquery(_)) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            });
            found.is_break()
        };
        self.selection.is_some() || self.assignments.iter().any(|(_, value)| names_column(value))
    }
}
