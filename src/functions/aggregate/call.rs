//! Aggregate calls as plain data.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::function::AggregateFunction;
use crate::base::Result;
use crate::functions::expr::Expr;
use crate::types::{Schema, SqlType};

/// One aggregate of a GROUP BY.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AggregateCall {
    /// The function.
    pub function: AggregateFunction,
    /// Its arguments, as many as [`AggregateFunction`] says: the value first, then a delimiter or a fraction.
    pub args: Vec<Expr>,
    /// DISTINCT: equal values count once.
    pub distinct: bool,
    /// FILTER (WHERE ...): other rows do not count.
    pub filter: Option<Expr>,
    /// ORDER BY inside the call, or WITHIN GROUP (ORDER BY ...), whose expression is then the first argument.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<Order>,
    /// The type of its result.
    pub ty: SqlType,
}

/// One expression of ORDER BY.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Order {
    /// What is ordered by.
    pub expr: Expr,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST.
    pub nulls_first: bool,
}

impl AggregateCall {
    /// A call over rows of `input`, its result type worked out.
    pub fn new(
        function: AggregateFunction,
        args: Vec<Expr>,
        distinct: bool,
        filter: Option<Expr>,
        input: &Schema,
    ) -> Result<AggregateCall> {
        let types = args.iter().map(|arg| arg.ty(input)).collect::<Result<Vec<_>>>()?;
        let ty = function.result_type(&types)?;
        Ok(AggregateCall { function, args, distinct, filter, order: Vec::new(), ty })
    }

    /// The same call with its rows in this order.
    pub fn ordered_by(mut self, order: Vec<Order>) -> AggregateCall {
        self.order = order;
        self
    }

    /// Every expression that it computes of a row.
    pub fn exprs(&self) -> impl Iterator<Item = &Expr> {
        self.args.iter().chain(&self.filter).chain(self.order.iter().map(|order| &order.expr))
    }

    /// As [`AggregateCall::exprs`], to be changed.
    pub fn exprs_mut(&mut self) -> impl Iterator<Item = &mut Expr> {
        self.args.iter_mut().chain(&mut self.filter).chain(self.order.iter_mut().map(|order| &mut order.expr))
    }

    /// The call as SQL, with `show` to write an expression.
    pub fn text(&self, show: impl Fn(&Expr) -> String) -> String {
        let distinct = if self.distinct { "DISTINCT " } else { "" };
        let order = |order: &Order| {
            let direction = if order.descending { " DESC" } else { "" };
            let nulls = match (order.nulls_first, order.descending) {
                (true, false) => " NULLS FIRST",
                (false, true) => " NULLS LAST",
                (true, true) | (false, false) => "",
            };
            format!("{}{direction}{nulls}", show(&order.expr))
        };
        let order = self.order.iter().map(order).collect::<Vec<_>>().join(", ");
        let name = self.function.name();
        let mut text = if self.function.is_ordered_set() {
            let direct: Vec<String> = self.args.iter().skip(1).map(&show).collect();
            let value = self.args.first().map(&show).unwrap_or_default();
            let order = if order.is_empty() { value } else { order };
            format!("{name}({}) WITHIN GROUP (ORDER BY {order})", direct.join(", "))
        } else {
            let args: Vec<String> = self.args.iter().map(&show).collect();
            let args = if args.is_empty() { "*".to_owned() } else { args.join(", ") };
            let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {order}") };
            format!("{name}({distinct}{args}{order})")
        };
        if let Some(filter) = &self.filter {
            text.push_str(&format!(" FILTER (WHERE {})", show(filter)));
        }
        text
    }
}

impl fmt::Display for AggregateCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(Expr::to_string))
    }
}
