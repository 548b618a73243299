//! Expressions made ready to run: types resolved, casts made explicit, constants folded, functions looked up.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema as ArrowSchema;

use super::expr::{BinaryOp, Expr, Test, binary_type, no_operator};
use super::fault::Evaluated;
use super::kernels::{Col, arithmetic, compare, like, logic};
use super::native::Native;
use super::udf_call::UdfCall;
use super::{cast, kernels, typing};
use crate::base::{Error, Result, sqlstate};
use crate::types::{Schema, SqlType};

/// An expression ready to be evaluated over batches of one schema. It never changes; clones share nothing mutable.
#[derive(Clone, Debug)]
pub struct Compiled {
    root: Node,
    ty: SqlType,
    columns: usize,
}

#[derive(Clone, Debug)]
enum Node {
    Column(usize),
    Constant(ArrayRef),
    Arithmetic { op: BinaryOp, args: Box<[Node; 2]>, types: Box<[SqlType; 3]> },
    Compare { op: BinaryOp, args: Box<[Node; 2]> },
    Concat { args: Box<[Node; 2]>, bytes: bool },
    Connect { args: Vec<Node>, all: bool },
    Not(Box<Node>),
    Negate(Box<Node>, SqlType),
    Is { arg: Box<Node>, test: Test, negated: bool },
    Case { branches: Vec<(Node, Node)>, otherwise: Box<Node> },
    Cast { arg: Box<Node>, from: SqlType, to: SqlType },
    Like { args: Box<[Node; 2]>, escape: Option<char>, negated: bool, insensitive: bool },
    Coalesce(Vec<Node>),
    Extreme { args: Vec<Node>, greatest: bool },
    Native { native: Native, args: Vec<Node> },
    Call { call: Box<UdfCall>, args: Vec<Node> },
}

impl Compiled {
    /// Compiles `expr` over rows of `input`. Errors are `Invalid`: types that do not go together, functions that do
    /// not exist.
    pub fn new(expr: &Expr, input: &Schema) -> Result<Compiled> {
        let (root, ty) = compile(expr, input)?;
        Ok(Compiled { root, ty, columns: input.columns.len() })
    }

    /// The type of the values.
    pub fn ty(&self) -> &SqlType {
        &self.ty
    }

    /// The place of the column, if the expression is nothing but a column.
    pub fn column(&self) -> Option<usize> {
        match self.root {
            Node::Column(index) => Some(index),
            _ => None,
        }
    }

    /// Evaluates every row of `batch`, whose schema is the one it was compiled for. Rows that cannot be computed
    /// are faults, never an error.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<Evaluated> {
        if batch.num_columns() < self.columns {
            return Err(Error::internal(format!(
                "expression over {} columns was given {}",
                self.columns,
                batch.num_columns()
            )));
        }
        self.root.evaluate(batch)?.evaluated(batch.num_rows())
    }

    /// Evaluates a condition: which rows are true, and which faulted.
    pub fn evaluate_filter(&self, batch: &RecordBatch) -> Result<(BooleanArray, Option<super::Faults>)> {
        let evaluated = self.evaluate(batch)?;
        match evaluated.values.as_any().downcast_ref::<BooleanArray>() {
            Some(values) => Ok((values.clone(), evaluated.faults)),
            None => Err(Error::internal(format!("condition gives {} instead of boolean", self.ty))),
        }
    }
}

/// Compiles to a node and its type, folding constants that do not fault.
fn compile(expr: &Expr, input: &Schema) -> Result<(Node, SqlType)> {
    let (node, ty) = compile_node(expr, input)?;
    if matches!(node, Node::Constant(_) | Node::Column(_)) || !node.is_constant() {
        return Ok((node, ty));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let batch = RecordBatch::try_new_with_options(Arc::new(ArrowSchema::empty()), Vec::new(), &options)?;
    let value = node.evaluate(&batch)?;
    if !value.faults.is_empty() || value.values.len() != 1 {
        return Ok((node, ty));
    }
    Ok((Node::Constant(value.values), ty))
}

fn compile_as(expr: &Expr, to: &SqlType, input: &Schema) -> Result<Node> {
    if let Expr::Literal(literal) = expr
        && literal.value == super::literal::Value::Null
    {
        return Ok(Node::Constant(super::literal::Literal::null(to.clone()).to_array()?));
    }
    let (node, from) = compile(expr, input)?;
    cast_node(node, from, to)
}

fn cast_node(node: Node, from: SqlType, to: &SqlType) -> Result<Node> {
    if from == *to {
        return Ok(node);
    }
    if !cast::exists(&from, to) {
        return Err(cast::no_cast(&from, to));
    }
    if let Node::Constant(value) = &node {
        let value = cast::cast(Col::scalar(Arc::clone(value)), &from, to)?;
        if value.faults.is_empty() {
            return Ok(Node::Constant(value.values));
        }
    }
    Ok(Node::Cast { arg: Box::new(node), from, to: to.clone() })
}

fn condition(expr: &Expr, input: &Schema) -> Result<Node> {
    if let Expr::Literal(literal) = expr
        && literal.value == super::literal::Value::Null
    {
        return compile_as(expr, &SqlType::Boolean, input);
    }
    let (node, ty) = compile(expr, input)?;
    if ty != SqlType::Boolean {
        return Err(Error::invalid(format!("argument of a condition must be type boolean, not type {ty}"))
            .with_code(sqlstate::DATATYPE_MISMATCH));
    }
    Ok(node)
}

fn all<'a>(exprs: impl IntoIterator<Item = &'a Expr>, compile: impl Fn(&Expr) -> Result<Node>) -> Result<Vec<Node>> {
    exprs.into_iter().map(compile).collect()
}

fn compile_node(expr: &Expr, input: &Schema) -> Result<(Node, SqlType)> {
    let ty = expr.ty(input)?;
    let node = match expr {
        Expr::Column(index) => Node::Column(*index),
        Expr::Literal(literal) => Node::Constant(literal.to_array()?),
        Expr::Binary { op, left, right } => compile_binary(*op, left, right, input)?,
        Expr::And(args) => Node::Connect { args: all(args, |arg| condition(arg, input))?, all: true },
        Expr::Or(args) => Node::Connect { args: all(args, |arg| condition(arg, input))?, all: false },
        Expr::Not(arg) => Node::Not(Box::new(condition(arg, input)?)),
        Expr::Negate(arg) => Node::Negate(Box::new(compile(arg, input)?.0), ty.clone()),
        Expr::Is { expr, test, negated } => {
            let arg = match test {
                Test::Null => compile(expr, input)?.0,
                Test::True | Test::False => condition(expr, input)?,
            };
            Node::Is { arg: Box::new(arg), test: *test, negated: *negated }
        }
        Expr::Case { branches, otherwise } => {
            let branches = branches
                .iter()
                .map(|(when, then)| Ok((condition(when, input)?, compile_as(then, &ty, input)?)))
                .collect::<Result<_>>()?;
            let otherwise = match otherwise {
                Some(expr) => compile_as(expr, &ty, input)?,
                None => Node::Constant(super::literal::Literal::null(ty.clone()).to_array()?),
            };
            Node::Case { branches, otherwise: Box::new(otherwise) }
        }
        Expr::Cast { expr, to } => compile_as(expr, to, input)?,
        Expr::InList { expr, list, negated } => compile_in_list(expr, list, *negated, input)?,
        Expr::Like { expr, pattern, escape, negated, insensitive } => {
            let args = [text_operand(expr, input)?, text_operand(pattern, input)?];
            Node::Like { args: Box::new(args), escape: *escape, negated: *negated, insensitive: *insensitive }
        }
        Expr::Coalesce(args) => Node::Coalesce(all(args, |arg| compile_as(arg, &ty, input))?),
        Expr::Extreme { args, greatest } => {
            Node::Extreme { args: all(args, |arg| compile_as(arg, &ty, input))?, greatest: *greatest }
        }
        Expr::Call { function, args, ty } => compile_call(function, args, ty, input)?,
    };
    Ok((node, ty))
}

fn text_operand(expr: &Expr, input: &Schema) -> Result<Node> {
    let ty = expr.ty(input)?;
    if ty != SqlType::Varchar {
        return Err(no_operator("LIKE", &[&ty, &SqlType::Varchar]));
    }
    compile_as(expr, &SqlType::Varchar, input)
}

fn compile_binary(op: BinaryOp, left: &Expr, right: &Expr, input: &Schema) -> Result<Node> {
    let (left_type, right_type) = (left.ty(input)?, right.ty(input)?);
    let mismatch = || no_operator(op.symbol(), &[&left_type, &right_type]);
    if op.is_arithmetic() {
        let types = typing::arithmetic(op, &left_type, &right_type).ok_or_else(mismatch)?;
        let args = [compile_as(left, &types.left, input)?, compile_as(right, &types.right, input)?];
        return Ok(Node::Arithmetic {
            op,
            args: Box::new(args),
            types: Box::new([types.left, types.right, types.result]),
        });
    }
    if op == BinaryOp::Concat {
        let ty = binary_type(op, &left_type, &right_type)?;
        let args = [compile_as(left, &ty, input)?, compile_as(right, &ty, input)?];
        return Ok(Node::Concat { args: Box::new(args), bytes: ty == SqlType::Bytea });
    }
    let ty = typing::common_of([left, right].into_iter(), input, op.symbol()).map_err(|_| mismatch())?;
    Ok(Node::Compare { op, args: Box::new([compile_as(left, &ty, input)?, compile_as(right, &ty, input)?]) })
}

fn compile_in_list(expr: &Expr, list: &[Expr], negated: bool, input: &Schema) -> Result<Node> {
    let equal = all(list, |item| compile_binary(BinaryOp::Equal, expr, item, input))?;
    let any = Node::Connect { args: equal, all: false };
    Ok(if negated { Node::Not(Box::new(any)) } else { any })
}

fn compile_call(function: &str, args: &[Expr], ty: &SqlType, input: &Schema) -> Result<Node> {
    let compiled = args.iter().map(|arg| compile(arg, input)).collect::<Result<Vec<_>>>()?;
    let types: Vec<SqlType> = compiled.iter().map(|(_, ty)| ty.clone()).collect();
    let constants: Vec<Option<ArrayRef>> = compiled
        .iter()
        .map(|(node, _)| if let Node::Constant(value) = node { Some(Arc::clone(value)) } else { None })
        .collect();
    if let Some(native) = Native::find(function, &types, &constants)? {
        let args = compiled.into_iter().zip(&native.args).map(|((node, from), to)| match &node {
            Node::Constant(value) if value.is_null(0) => {
                Ok(Node::Constant(super::literal::Literal::null(to.clone()).to_array()?))
            }
            _ => cast_node(node, from, to),
        });
        let args = args.collect::<Result<Vec<_>>>()?;
        let result = native.ty.clone();
        return cast_node(Node::Native { native, args }, result, ty);
    }
    let call = UdfCall::new(function, &types, &constants, ty)?;
    Ok(Node::Call { call: Box::new(call), args: compiled.into_iter().map(|(node, _)| node).collect() })
}

impl Node {
    fn is_constant(&self) -> bool {
        match self {
            Node::Column(_) => false,
            Node::Constant(_) => true,
            Node::Arithmetic { args, .. } | Node::Compare { args, .. } | Node::Concat { args, .. } => {
                args.iter().all(Node::is_constant)
            }
            Node::Like { args, .. } => args.iter().all(Node::is_constant),
            Node::Connect { args, .. } | Node::Coalesce(args) | Node::Extreme { args, .. } => {
                args.iter().all(Node::is_constant)
            }
            Node::Native { args, .. } | Node::Call { args, .. } => args.iter().all(Node::is_constant),
            Node::Not(arg) | Node::Negate(arg, _) | Node::Is { arg, .. } | Node::Cast { arg, .. } => arg.is_constant(),
            Node::Case { branches, otherwise } => {
                otherwise.is_constant() && branches.iter().all(|(when, then)| when.is_constant() && then.is_constant())
            }
        }
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<Col> {
        let rows = batch.num_rows();
        let many = |args: &[Node]| args.iter().map(|arg| arg.evaluate(batch)).collect::<Result<Vec<_>>>();
        match self {
            Node::Column(index) => match batch.columns().get(*index) {
                Some(column) => Ok(Col::array(Arc::clone(column))),
                None => Err(Error::internal(format!("batch has no column #{index}"))),
            },
            Node::Constant(value) => Ok(Col::scalar(Arc::clone(value))),
            Node::Arithmetic { op, args, types } => {
                let [left, right] = [args[0].evaluate(batch)?, args[1].evaluate(batch)?];
                arithmetic::binary(*op, left, right, types.each_ref(), rows)
            }
            Node::Compare { op, args } => {
                compare::binary(*op, args[0].evaluate(batch)?, args[1].evaluate(batch)?, rows)
            }
            Node::Concat { args, bytes } => {
                kernels::string::concat(args[0].evaluate(batch)?, args[1].evaluate(batch)?, *bytes, rows)
            }
            Node::Connect { args, all } => logic::connect(many(args)?, *all, rows),
            Node::Not(arg) => logic::negate(arg.evaluate(batch)?),
            Node::Negate(arg, ty) => arithmetic::negate(arg.evaluate(batch)?, ty),
            Node::Is { arg, test, negated } => logic::is(arg.evaluate(batch)?, *test, *negated),
            Node::Case { branches, otherwise } => {
                let branches = branches
                    .iter()
                    .map(|(when, then)| Ok((when.evaluate(batch)?, then.evaluate(batch)?)))
                    .collect::<Result<Vec<_>>>()?;
                logic::case(branches, otherwise.evaluate(batch)?, rows)
            }
            Node::Cast { arg, from, to } => cast::cast(arg.evaluate(batch)?, from, to),
            Node::Like { args, escape, negated, insensitive } => {
                let [text, pattern] = [args[0].evaluate(batch)?, args[1].evaluate(batch)?];
                like::matches(text, pattern, *escape, [*negated, *insensitive], rows)
            }
            Node::Coalesce(args) => logic::coalesce(many(args)?, rows),
            Node::Extreme { args, greatest } => logic::extreme(many(args)?, *greatest, rows),
            Node::Native { native, args } => native.evaluate(many(args)?, rows),
            Node::Call { call, args } => call.evaluate(many(args)?, rows),
        }
    }
}
