//! The expression IR: plain, versionless data that the planner writes, the catalog stores and the workers compile.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::literal::Literal;
use super::typing;
use crate::base::{Error, Result, sqlstate};
use crate::types::{Schema, SqlType};

/// An expression over the columns of one input. `Display` prints it as SQL text, columns as `#0`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expr {
    /// The input's column at this place.
    Column(usize),
    /// A constant.
    Literal(Literal),
    /// A binary operator; operands of different types are first cast to their common type.
    Binary {
        /// The operator.
        op: BinaryOp,
        /// Its left operand.
        left: Box<Expr>,
        /// Its right operand.
        right: Box<Expr>,
    },
    /// Three-valued AND: one false operand decides, whatever the others are.
    And(Vec<Expr>),
    /// Three-valued OR: one true operand decides, whatever the others are.
    Or(Vec<Expr>),
    /// NOT.
    Not(Box<Expr>),
    /// Unary minus.
    Negate(Box<Expr>),
    /// `x IS [NOT] NULL | TRUE | FALSE`; never NULL itself.
    Is {
        /// What is tested.
        expr: Box<Expr>,
        /// For what.
        test: Test,
        /// IS NOT.
        negated: bool,
    },
    /// CASE WHEN ... THEN ... ELSE ... END; only the branch taken counts.
    Case {
        /// Conditions and results in order.
        branches: Vec<(Expr, Expr)>,
        /// ELSE; NULL if left out.
        otherwise: Option<Box<Expr>>,
    },
    /// CAST(x AS type) with PostgreSQL's meaning.
    Cast {
        /// What is cast.
        expr: Box<Expr>,
        /// To what type.
        to: SqlType,
    },
    /// `x [NOT] IN (a, b, ...)`.
    InList {
        /// What is looked for.
        expr: Box<Expr>,
        /// Where.
        list: Vec<Expr>,
        /// NOT IN.
        negated: bool,
    },
    /// `x [NOT] LIKE | ILIKE pattern [ESCAPE c]`.
    Like {
        /// What is matched.
        expr: Box<Expr>,
        /// The pattern.
        pattern: Box<Expr>,
        /// The escape character; backslash if left out.
        escape: Option<char>,
        /// NOT LIKE.
        negated: bool,
        /// ILIKE.
        insensitive: bool,
    },
    /// COALESCE: the first that is not NULL; those behind it do not count.
    Coalesce(Vec<Expr>),
    /// GREATEST (or LEAST): NULLs are left out.
    Extreme {
        /// The candidates.
        args: Vec<Expr>,
        /// GREATEST.
        greatest: bool,
    },
    /// A scalar function by its name in lower case.
    Call {
        /// The function.
        function: String,
        /// Its arguments.
        args: Vec<Expr>,
        /// The type of its result.
        ty: SqlType,
    },
}

/// Binary operators of [`Expr::Binary`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Modulo,
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `IS DISTINCT FROM`
    Distinct,
    /// `IS NOT DISTINCT FROM`
    NotDistinct,
    /// `||`
    Concat,
}

/// What [`Expr::Is`] tests for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// NULL (for booleans also spelled UNKNOWN).
    Null,
    /// TRUE.
    True,
    /// FALSE.
    False,
}

impl BinaryOp {
    /// Whether it is one of `+ - * / %`.
    pub fn is_arithmetic(self) -> bool {
        use BinaryOp::*;
        match self {
            Add | Subtract | Multiply | Divide | Modulo => true,
            Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual | Distinct | NotDistinct | Concat => false,
        }
    }

    /// Its spelling.
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Subtract => "-",
            BinaryOp::Multiply => "*",
            BinaryOp::Divide => "/",
            BinaryOp::Modulo => "%",
            BinaryOp::Equal => "=",
            BinaryOp::NotEqual => "<>",
            BinaryOp::Less => "<",
            BinaryOp::LessEqual => "<=",
            BinaryOp::Greater => ">",
            BinaryOp::GreaterEqual => ">=",
            BinaryOp::Distinct => "IS DISTINCT FROM",
            BinaryOp::NotDistinct => "IS NOT DISTINCT FROM",
            BinaryOp::Concat => "||",
        }
    }
}

impl Expr {
    /// `left op right`.
    pub fn binary(op: BinaryOp, left: Expr, right: Expr) -> Expr {
        Expr::Binary { op, left: Box::new(left), right: Box::new(right) }
    }

    /// `self AS to`; itself when the type is the same already (in `input`).
    pub fn cast(self, to: SqlType) -> Expr {
        Expr::Cast { expr: Box::new(self), to }
    }

    /// The type of its values over rows of `input`. Fails for columns that are not there and for operands that do
    /// not go together.
    pub fn ty(&self, input: &Schema) -> Result<SqlType> {
        match self {
            Expr::Column(index) => match input.columns.get(*index) {
                Some(column) => Ok(column.ty.clone()),
                None => Err(Error::internal(format!(
                    "expression names column #{index} of an input with {} columns",
                    input.columns.len()
                ))),
            },
            Expr::Literal(literal) => Ok(literal.ty.clone()),
            Expr::Binary { op, left, right } => binary_type(*op, &left.ty(input)?, &right.ty(input)?),
            Expr::And(_) | Expr::Or(_) | Expr::Not(_) | Expr::Is { .. } | Expr::InList { .. } | Expr::Like { .. } => {
                Ok(SqlType::Boolean)
            }
            Expr::Negate(expr) => {
                let ty = expr.ty(input)?;
                if ty.is_numeric() || ty == SqlType::Interval { Ok(ty) } else { Err(no_operator("-", &[&ty])) }
            }
            Expr::Case { branches, otherwise } => {
                typing::common_of(branches.iter().map(|(_, then)| then).chain(otherwise.as_deref()), input, "CASE")
            }
            Expr::Cast { to, .. } => Ok(to.clone()),
            Expr::Coalesce(args) => typing::common_of(args.iter(), input, "COALESCE"),
            Expr::Extreme { args, greatest } => {
                typing::common_of(args.iter(), input, if *greatest { "GREATEST" } else { "LEAST" })
            }
            Expr::Call { ty, .. } => Ok(ty.clone()),
        }
    }

    /// The operands, in order.
    pub fn children(&self) -> Vec<&Expr> {
        match self {
            Expr::Column(_) | Expr::Literal(_) => Vec::new(),
            Expr::Binary { left, right, .. } => vec![left, right],
            Expr::And(args) | Expr::Or(args) | Expr::Coalesce(args) => args.iter().collect(),
            Expr::Extreme { args, .. } | Expr::Call { args, .. } => args.iter().collect(),
            Expr::Not(expr) | Expr::Negate(expr) | Expr::Is { expr, .. } | Expr::Cast { expr, .. } => vec![expr],
            Expr::Case { branches, otherwise } => {
                branches.iter().flat_map(|(when, then)| [when, then]).chain(otherwise.as_deref()).collect()
            }
            Expr::InList { expr, list, .. } => std::iter::once(&**expr).chain(list).collect(),
            Expr::Like { expr, pattern, .. } => vec![expr, pattern],
        }
    }

    fn children_mut(&mut self) -> Vec<&mut Expr> {
        match self {
            Expr::Column(_) | Expr::Literal(_) => Vec::new(),
            Expr::Binary { left, right, .. } => vec![left, right],
            Expr::And(args) | Expr::Or(args) | Expr::Coalesce(args) => args.iter_mut().collect(),
            Expr::Extreme { args, .. } | Expr::Call { args, .. } => args.iter_mut().collect(),
            Expr::Not(expr) | Expr::Negate(expr) | Expr::Is { expr, .. } | Expr::Cast { expr, .. } => vec![expr],
            Expr::Case { branches, otherwise } => {
                branches.iter_mut().flat_map(|(when, then)| [when, then]).chain(otherwise.as_deref_mut()).collect()
            }
            Expr::InList { expr, list, .. } => std::iter::once(&mut **expr).chain(list).collect(),
            Expr::Like { expr, pattern, .. } => vec![expr, pattern],
        }
    }

    /// The columns that it names.
    pub fn columns(&self) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        self.visit(&mut |expr| {
            if let Expr::Column(index) = expr {
                found.insert(*index);
            }
        });
        found
    }

    /// Calls `each` with this expression and everything beneath it, parents first.
    pub fn visit<'a>(&'a self, each: &mut dyn FnMut(&'a Expr)) {
        each(self);
        for child in self.children() {
            child.visit(each);
        }
    }

    /// Replaces every column `i` by column `map(i)`.
    pub fn map_columns(&mut self, map: &mut dyn FnMut(usize) -> usize) {
        if let Expr::Column(index) = self {
            *index = map(*index);
        }
        for child in self.children_mut() {
            child.map_columns(map);
        }
    }

    /// This expression with every column `i` replaced by `with[i]`; a column outside `with` stays.
    pub fn substitute(&self, with: &[Expr]) -> Expr {
        let mut copy = self.clone();
        copy.substitute_in_place(with);
        copy
    }

    fn substitute_in_place(&mut self, with: &[Expr]) {
        if let Expr::Column(index) = self {
            if let Some(expr) = with.get(*index) {
                *self = expr.clone();
            }
            return;
        }
        for child in self.children_mut() {
            child.substitute_in_place(with);
        }
    }
}

/// The type of `left op right`.
pub(crate) fn binary_type(op: BinaryOp, left: &SqlType, right: &SqlType) -> Result<SqlType> {
    let found = if op.is_arithmetic() {
        typing::arithmetic(op, left, right).map(|types| types.result)
    } else if op == BinaryOp::Concat {
        match (left, right) {
            (SqlType::Bytea, SqlType::Bytea) => Some(SqlType::Bytea),
            (SqlType::Varchar, _) | (_, SqlType::Varchar) => Some(SqlType::Varchar),
            _ => None,
        }
    } else {
        typing::common(left, right).map(|_| SqlType::Boolean)
    };
    found.ok_or_else(|| no_operator(op.symbol(), &[left, right]))
}

/// `operator does not exist: ...` with the types found.
pub(crate) fn no_operator(symbol: &str, types: &[&SqlType]) -> Error {
    let text = match types {
        [one] => format!("{symbol} {one}"),
        [left, right] => format!("{left} {symbol} {right}"),
        _ => symbol.to_owned(),
    };
    Error::invalid(format!("operator does not exist: {text}"))
        .with_code(sqlstate::UNDEFINED_FUNCTION)
        .with_hint("No operator has these operand types. Add explicit casts.")
}
