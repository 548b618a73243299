//! Expressions as SQL text, for EXPLAIN and messages. Columns print as `#place`, or by name through [`Named`].

use std::fmt;

use super::expr::{BinaryOp, Expr, Test};
use crate::types::Schema;

/// An expression that prints its columns by their names in a schema.
pub struct Named<'a> {
    /// The expression.
    pub expr: &'a Expr,
    /// Its input.
    pub input: &'a Schema,
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self, None, f)
    }
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self.expr, Some(self.input), f)
    }
}

fn write(expr: &Expr, input: Option<&Schema>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match expr {
        Expr::Column(index) => match input.and_then(|input| input.columns.get(*index)) {
            Some(column) => f.write_str(&column.name),
            None => write!(f, "#{index}"),
        },
        Expr::Literal(literal) => write!(f, "{literal}"),
        Expr::Binary { op, left, right } => write_binary(*op, left, right, input, f),
        Expr::And(args) => write_list(args, " AND ", true, input, f),
        Expr::Or(args) => write_list(args, " OR ", true, input, f),
        Expr::Not(expr) => {
            f.write_str("NOT ")?;
            write_operand(expr, input, f)
        }
        Expr::Negate(expr) => {
            f.write_str("- ")?;
            write_operand(expr, input, f)
        }
        Expr::Is { expr, test, negated } => {
            write_operand(expr, input, f)?;
            let test = match test {
                Test::Null => "NULL",
                Test::True => "TRUE",
                Test::False => "FALSE",
            };
            write!(f, " IS {}{test}", if *negated { "NOT " } else { "" })
        }
        Expr::Case { branches, otherwise } => write_case(branches, otherwise.as_deref(), input, f),
        Expr::Cast { expr, to } => {
            f.write_str("CAST(")?;
            write(expr, input, f)?;
            write!(f, " AS {to})")
        }
        Expr::InList { expr, list, negated } => {
            write_operand(expr, input, f)?;
            write!(f, " {}IN (", if *negated { "NOT " } else { "" })?;
            write_list(list, ", ", false, input, f)?;
            f.write_str(")")
        }
        Expr::Like { expr, pattern, escape, negated, insensitive } => {
            write_operand(expr, input, f)?;
            write!(f, " {}{} ", if *negated { "NOT " } else { "" }, if *insensitive { "ILIKE" } else { "LIKE" })?;
            write_operand(pattern, input, f)?;
            escape.map_or(Ok(()), |escape| write!(f, " ESCAPE '{escape}'"))
        }
        Expr::Coalesce(args) => write_call("COALESCE", args, input, f),
        Expr::Extreme { args, greatest } => write_call(if *greatest { "GREATEST" } else { "LEAST" }, args, input, f),
        Expr::Call { function, args, .. } => write_call(function, args, input, f),
    }
}

fn write_binary(
    op: BinaryOp,
    left: &Expr,
    right: &Expr,
    input: Option<&Schema>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    write_operand(left, input, f)?;
    write!(f, " {} ", op.symbol())?;
    write_operand(right, input, f)
}

fn write_case(
    branches: &[(Expr, Expr)],
    otherwise: Option<&Expr>,
    input: Option<&Schema>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    f.write_str("CASE")?;
    for (when, then) in branches {
        f.write_str(" WHEN ")?;
        write(when, input, f)?;
        f.write_str(" THEN ")?;
        write(then, input, f)?;
    }
    if let Some(otherwise) = otherwise {
        f.write_str(" ELSE ")?;
        write(otherwise, input, f)?;
    }
    f.write_str(" END")
}

fn write_call(name: &str, args: &[Expr], input: Option<&Schema>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{name}(")?;
    write_list(args, ", ", false, input, f)?;
    f.write_str(")")
}

fn write_list(
    args: &[Expr],
    between: &str,
    operands: bool,
    input: Option<&Schema>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    for (i, arg) in args.iter().enumerate() {
        if i > 0 {
            f.write_str(between)?;
        }
        if operands { write_operand(arg, input, f)? } else { write(arg, input, f)? }
    }
    Ok(())
}

fn write_operand(expr: &Expr, input: Option<&Schema>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let bare = match expr {
        Expr::Column(_) | Expr::Literal(_) | Expr::Case { .. } | Expr::Cast { .. } | Expr::Coalesce(_) => true,
        Expr::Extreme { .. } | Expr::Call { .. } => true,
        Expr::Binary { .. } | Expr::And(_) | Expr::Or(_) | Expr::Not(_) | Expr::Negate(_) | Expr::Is { .. } => false,
        Expr::InList { .. } | Expr::Like { .. } => false,
    };
    if bare {
        return write(expr, input, f);
    }
    f.write_str("(")?;
    write(expr, input, f)?;
    f.write_str(")")
}
