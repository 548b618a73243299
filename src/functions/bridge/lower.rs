//! Logical expressions of DataFusion to the IR.

use arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::expr::{Case, InList, Like, ScalarFunction};
use datafusion::logical_expr::{BinaryExpr, Expr as Logical, ExprSchemable, Operator, Volatility};

use super::may_be_null::NAME as MAY_BE_NULL;
use super::udf::{IrUdf, literal_of};
use crate::base::{Error, Result, sqlstate};
use crate::functions::expr::{BinaryOp, Expr, Test};
use crate::functions::literal::{Literal, Value};
use crate::functions::native::{self, Native};
use crate::functions::{refused, udf_call};
use crate::types::{Schema, SqlType};

/// The IR of a logical expression over rows of `input`; column `i` of the IR is field `i` of `input`. What the IR
/// has no word for is an `Invalid` error (0A000) that names the construct; volatile functions are refused by name.
pub fn from_datafusion(expr: &Logical, input: &DFSchema) -> Result<Expr> {
    Lowering { input, schema: &sql_schema(input) }.lower(expr)
}

/// The SQL types of a plan's columns; a column of a type that has none stands as text and cannot be named.
pub(crate) fn sql_schema(input: &DFSchema) -> Schema {
    let column = |field: &FieldRef| crate::types::Column {
        name: field.name().clone(),
        ty: SqlType::from_arrow(field.data_type()).unwrap_or(SqlType::Varchar),
        nullable: field.is_nullable(),
    };
    Schema::new(input.fields().iter().map(column).collect())
}

struct Lowering<'a> {
    input: &'a DFSchema,
    schema: &'a Schema,
}

fn not_yet(construct: impl std::fmt::Display) -> Error {
    Error::unsupported(format!("{construct} cannot stand in a stored query yet"))
}

impl Lowering<'_> {
    fn lower(&self, expr: &Logical) -> Result<Expr> {
        match expr {
            Logical::Alias(alias) => self.lower(&alias.expr),
            Logical::Column(column) => self.column(column),
            Logical::Literal(value, _) => Ok(Expr::Literal(literal_of(value)?)),
            Logical::BinaryExpr(binary) => self.binary(binary),
            Logical::Like(like) => self.like(like),
            Logical::Not(expr) => Ok(Expr::Not(self.boxed(expr)?)),
            Logical::IsNull(expr) | Logical::IsUnknown(expr) => self.is(expr, Test::Null, false),
            Logical::IsNotNull(expr) | Logical::IsNotUnknown(expr) => self.is(expr, Test::Null, true),
            Logical::IsTrue(expr) => self.is(expr, Test::True, false),
            Logical::IsNotTrue(expr) => self.is(expr, Test::True, true),
            Logical::IsFalse(expr) => self.is(expr, Test::False, false),
            Logical::IsNotFalse(expr) => self.is(expr, Test::False, true),
            Logical::Negative(expr) => Ok(Expr::Negate(self.boxed(expr)?)),
            Logical::Between(between) => {
                let value = self.lower(&between.expr)?;
                let low = Expr::binary(BinaryOp::GreaterEqual, value.clone(), self.lower(&between.low)?);
                let high = Expr::binary(BinaryOp::LessEqual, value, self.lower(&between.high)?);
                let both = Expr::And(vec![low, high]);
                Ok(if between.negated { Expr::Not(Box::new(both)) } else { both })
            }
            Logical::Case(case) => self.case(case),
            Logical::Cast(cast) => self.cast(&cast.expr, SqlType::from_arrow(cast.field.data_type())?),
            Logical::ScalarFunction(call) => self.call(call),
            Logical::InList(list) => self.in_list(list),
            other => Err(refusal(other)),
        }
    }

    fn boxed(&self, expr: &Logical) -> Result<Box<Expr>> {
        self.lower(expr).map(Box::new)
    }

    fn all(&self, exprs: &[Logical]) -> Result<Vec<Expr>> {
        exprs.iter().map(|expr| self.lower(expr)).collect()
    }

    fn is(&self, expr: &Logical, test: Test, negated: bool) -> Result<Expr> {
        Ok(Expr::Is { expr: self.boxed(expr)?, test, negated })
    }

    fn cast(&self, expr: &Logical, to: SqlType) -> Result<Expr> {
        let expr = self.lower(expr)?;
        if let Expr::Literal(Literal { value: Value::Null, .. }) = expr {
            return Ok(Expr::Literal(Literal::null(to)));
        }
        if expr.ty(self.schema)? == to { Ok(expr) } else { Ok(expr.cast(to)) }
    }

    fn column(&self, column: &Column) -> Result<Expr> {
        match self.input.index_of_column(column) {
            Ok(index) => SqlType::from_arrow(self.input.field(index).data_type()).map(|_| Expr::Column(index)),
            Err(_) => Err(Error::invalid(format!("column \"{}\" does not exist", column.flat_name()))
                .with_code(sqlstate::UNDEFINED_COLUMN)),
        }
    }

    fn binary(&self, binary: &BinaryExpr) -> Result<Expr> {
        let op = match binary.op {
            Operator::And | Operator::Or => return self.connect(binary),
            Operator::Eq => BinaryOp::Equal,
            Operator::NotEq => BinaryOp::NotEqual,
            Operator::Lt => BinaryOp::Less,
            Operator::LtEq => BinaryOp::LessEqual,
            Operator::Gt => BinaryOp::Greater,
            Operator::GtEq => BinaryOp::GreaterEqual,
            Operator::Plus => BinaryOp::Add,
            Operator::Minus => BinaryOp::Subtract,
            Operator::Multiply => BinaryOp::Multiply,
            Operator::Divide => BinaryOp::Divide,
            Operator::Modulo => BinaryOp::Modulo,
            Operator::IsDistinctFrom => BinaryOp::Distinct,
            Operator::IsNotDistinctFrom => BinaryOp::NotDistinct,
            Operator::StringConcat => BinaryOp::Concat,
            Operator::RegexMatch => return self.regex(binary, false, false),
            Operator::RegexIMatch => return self.regex(binary, false, true),
            Operator::RegexNotMatch => return self.regex(binary, true, false),
            Operator::RegexNotIMatch => return self.regex(binary, true, true),
            Operator::LikeMatch => return self.like_operator(binary, false, false),
            Operator::ILikeMatch => return self.like_operator(binary, false, true),
            Operator::NotLikeMatch => return self.like_operator(binary, true, false),
            Operator::NotILikeMatch => return self.like_operator(binary, true, true),
            other => return Err(not_yet(format!("operator {other}"))),
        };
        Ok(Expr::binary(op, self.lower(&binary.left)?, self.lower(&binary.right)?))
    }

    fn like_operator(&self, binary: &BinaryExpr, negated: bool, insensitive: bool) -> Result<Expr> {
        let (expr, pattern) = (self.boxed(&binary.left)?, self.boxed(&binary.right)?);
        Ok(Expr::Like { expr, pattern, escape: None, negated, insensitive })
    }

    fn regex(&self, binary: &BinaryExpr, negated: bool, insensitive: bool) -> Result<Expr> {
        let args = vec![self.lower(&binary.left)?, self.lower(&binary.right)?];
        let held = self.by_name(if insensitive { "__imatch" } else { "__match" }, args)?;
        Ok(if negated { Expr::Not(Box::new(held)) } else { held })
    }

    /// AND and OR, chains flattened.
    fn connect(&self, binary: &BinaryExpr) -> Result<Expr> {
        let mut args = Vec::new();
        let mut stack = vec![&*binary.right, &*binary.left];
        while let Some(expr) = stack.pop() {
            match expr {
                Logical::BinaryExpr(inner) if inner.op == binary.op => stack.extend([&*inner.right, &*inner.left]),
                other => args.push(self.lower(other)?),
            }
        }
        Ok(if binary.op == Operator::And { Expr::And(args) } else { Expr::Or(args) })
    }

    fn like(&self, like: &Like) -> Result<Expr> {
        Ok(Expr::Like {
            expr: self.boxed(&like.expr)?,
            pattern: self.boxed(&like.pattern)?,
            escape: like.escape_char,
            negated: like.negated,
            insensitive: like.case_insensitive,
        })
    }

    fn case(&self, case: &Case) -> Result<Expr> {
        let operand = case.expr.as_ref().map(|expr| self.lower(expr)).transpose()?;
        let branches = case.when_then_expr.iter().map(|(when, then)| {
            let when = self.lower(when)?;
            let when = match &operand {
                Some(operand) => Expr::binary(BinaryOp::Equal, operand.clone(), when),
                None => when,
            };
            Ok((when, self.lower(then)?))
        });
        let branches = branches.collect::<Result<_>>()?;
        let otherwise = case.else_expr.as_ref().map(|expr| self.boxed(expr)).transpose()?;
        Ok(Expr::Case { branches, otherwise })
    }

    fn in_list(&self, list: &InList) -> Result<Expr> {
        Ok(Expr::InList { expr: self.boxed(&list.expr)?, list: self.all(&list.list)?, negated: list.negated })
    }

    fn call(&self, call: &ScalarFunction) -> Result<Expr> {
        let args = self.all(&call.args)?;
        if let Some(ours) = IrUdf::of(&call.func) {
            return ours.expand(args, self.schema);
        }
        let name = call.func.name();
        match (name, args.len()) {
            // An operator's columns say themselves whether they are.
            (MAY_BE_NULL, 1) => return Ok(args[0].clone()),
            ("coalesce" | "nvl", 1..) => return Ok(Expr::Coalesce(args)),
            ("greatest" | "least", 1..) => return Ok(Expr::Extreme { args, greatest: name == "greatest" }),
            ("nullif", 2) => {
                let null = Expr::Literal(Literal::null(args[0].ty(self.schema)?));
                let equal = Expr::binary(BinaryOp::Equal, args[0].clone(), args[1].clone());
                let otherwise = args.into_iter().next().map(Box::new);
                return Ok(Expr::Case { branches: vec![(equal, null)], otherwise });
            }
            _ => {}
        }
        if super::now::is_clock(name) {
            return Err(not_yet(format!("function {name}"))
                .with_hint("Filter by the clock when you read the view, or by event time when you store it."));
        }
        if call.func.signature().volatility == Volatility::Volatile {
            return Err(refused::volatile(name));
        }
        if let Some(why) = refused::why(name) {
            return Err(why);
        }
        self.by_name(name, args)
    }

    fn by_name(&self, name: &str, args: Vec<Expr>) -> Result<Expr> {
        let types = args.iter().map(|arg| arg.ty(self.schema)).collect::<Result<Vec<_>>>()?;
        let constants = args
            .iter()
            .map(|arg| if let Expr::Literal(literal) = arg { literal.to_array().map(Some) } else { Ok(None) })
            .collect::<Result<Vec<_>>>()?;
        let ty = match Native::find(name, &types, &constants)? {
            Some(native) => native.ty,
            None if udf_call::registry().contains_key(name) => udf_call::return_type(name, &types, &constants)?,
            None => return Err(native::missing(name, &types)),
        };
        Ok(Expr::Call { function: name.to_owned(), args, ty })
    }
}

fn refusal(expr: &Logical) -> Error {
    match expr {
        Logical::SimilarTo(_) => not_yet("SIMILAR TO").with_hint("Use LIKE or regexp_like."),
        Logical::TryCast(_) => not_yet("TRY_CAST").with_hint("Use CAST: a row it cannot cast is a fault."),
        Logical::Placeholder(placeholder) => Error::invalid(format!("there is no parameter {}", placeholder.id))
            .with_code(sqlstate::UNDEFINED_PARAMETER)
            .with_hint("A stored query takes no parameters; write the value."),
        Logical::AggregateFunction(call) => {
            Error::invalid(format!("aggregate function {} is not allowed here", call.func.name()))
                .with_code(sqlstate::GROUPING_ERROR)
        }
        Logical::WindowFunction(_) => not_yet("a window function"),
        Logical::Exists(_) => not_yet("EXISTS inside an expression"),
        Logical::InSubquery(_) | Logical::SetComparison(_) => not_yet("IN (SELECT ...) inside an expression"),
        Logical::ScalarSubquery(_) => not_yet("a subquery inside an expression"),
        Logical::OuterReferenceColumn(_, column) => not_yet(format!("outer column \"{}\"", column.name)),
        Logical::Unnest(_) => not_yet("UNNEST"),
        Logical::GroupingSet(_) => not_yet("GROUPING SETS"),
        Logical::ScalarVariable(_, names) => not_yet(format!("variable {}", names.join("."))),
        other => not_yet(other),
    }
}

/// Whether values are ordered in another way by Arrow (-0 below 0, intervals field by field).
fn has_own_order(expr: &Logical, input: &DFSchema) -> bool {
    use arrow::datatypes::DataType;
    matches!(
        expr.get_type(input),
        Ok(DataType::Float32
            | DataType::Float64
            | DataType::Interval(_)
            | DataType::List(_)
            | DataType::Struct(_)
            | DataType::LargeBinary
            | DataType::FixedSizeBinary(_))
    )
}

/// Whether an expression holds something of which DataFusion's own evaluation would differ from ours.
pub(crate) fn is_checked(expr: &Logical, input: &DFSchema) -> bool {
    let mut found = false;
    let walked = expr.apply(|expr| {
        found |= match expr {
            Logical::Negative(_) => true,
            // Never NULL to DataFusion's planner, perhaps NULL to its physical expressions.
            Logical::IsTrue(_) | Logical::IsFalse(_) | Logical::IsUnknown(_) => true,
            Logical::IsNotTrue(_) | Logical::IsNotFalse(_) | Logical::IsNotUnknown(_) => true,
            Logical::Like(like) => like.escape_char.is_some_and(|escape| escape != '\\'),
            Logical::BinaryExpr(binary) => match binary.op {
                Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo => true,
                Operator::And | Operator::Or => false,
                Operator::RegexMatch
                | Operator::RegexIMatch
                | Operator::RegexNotMatch
                | Operator::RegexNotIMatch
                | Operator::StringConcat => true,
                _ => has_own_order(&binary.left, input),
            },
            Logical::Between(between) => has_own_order(&between.expr, input),
            Logical::InList(list) => has_own_order(&list.expr, input),
            Logical::Cast(cast) => match cast.expr.get_type(input) {
                Ok(from) if from == *cast.field.data_type() || from.is_null() => false,
                Ok(from) => match (SqlType::from_arrow(&from), SqlType::from_arrow(cast.field.data_type())) {
                    (Ok(from), Ok(to)) => !crate::functions::cast::is_plain(&from, &to),
                    _ => false,
                },
                Err(_) => false,
            },
            Logical::ScalarFunction(call) => IrUdf::of(&call.func).is_some() || native::exists(call.func.name()),
            _ => false,
        };
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.is_ok() && found
}
