//! Expressions made ready to run: types resolved, casts made explicit, constants folded, functions looked up.

use std::cell::RefCell;
use std::collections::HashMap;
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
    /// What the expression says more than once; each may hold those before it.
    shared: Arc<[Node]>,
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
    Shared(usize),
}

/// What an expression is compiled in.
struct Scope<'a> {
    input: &'a Schema,
    /// Parts that cost something and stand in the expression several times.
    repeated: Vec<&'a Expr>,
    shared: RefCell<Vec<(&'a Expr, Node, SqlType)>>,
}

/// The values of shared nodes for one batch.
struct Memo<'a> {
    shared: &'a [Node],
    values: RefCell<Vec<Option<Col>>>,
}

impl Compiled {
    /// Compiles `expr` over rows of `input`. Errors are `Invalid`: types that do not go together, functions that do
    /// not exist.
    pub fn new(expr: &Expr, input: &Schema) -> Result<Compiled> {
        let scope = Scope { input, repeated: repeated(expr), shared: RefCell::default() };
        let (root, ty) = compile(expr, &scope)?;
        let shared = scope.shared.into_inner().into_iter().map(|(_, node, _)| node).collect();
        Ok(Compiled { root, shared, ty, columns: input.columns.len() })
    }

    /// The type of the values.
    pub fn ty(&self) -> &SqlType {
        &self.ty
    }

    /// How many parts of the expression are computed once though it says them more often.
    #[cfg(test)]
    pub(super) fn shared_parts(&self) -> usize {
        self.shared.len()
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
        let memo = Memo { shared: &self.shared, values: RefCell::new(vec![None; self.shared.len()]) };
        self.root.evaluate(batch, &memo)?.evaluated(batch.num_rows())
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

/// The functions, patterns and CASEs that are computed several times where `expr` is computed as it is written.
fn repeated(expr: &Expr) -> Vec<&Expr> {
    fn count<'a>(expr: &'a Expr, times: usize, counts: &mut HashMap<&'a Expr, usize>) {
        if matches!(expr, Expr::Call { .. } | Expr::Like { .. } | Expr::Case { .. }) {
            *counts.entry(expr).or_default() += times;
        }
        if let Expr::InList { expr, list, .. } = expr {
            count(expr, list.len(), counts);
            list.iter().for_each(|item| count(item, 1, counts));
        } else {
            expr.children().into_iter().for_each(|child| count(child, 1, counts));
        }
    }
    let mut counts = HashMap::new();
    count(expr, 1, &mut counts);
    counts.into_iter().filter(|&(_, times)| times > 1).map(|(expr, _)| expr).collect()
}

/// Compiles to a node and its type; what is repeated, once.
fn compile<'a>(expr: &'a Expr, scope: &Scope<'a>) -> Result<(Node, SqlType)> {
    if !scope.repeated.contains(&expr) {
        return compile_once(expr, scope);
    }
    let find = |shared: &[(&Expr, Node, SqlType)]| {
        let place = shared.iter().position(|(known, ..)| *known == expr)?;
        Some((Node::Shared(place), shared[place].2.clone()))
    };
    if let Some(found) = find(&scope.shared.borrow()) {
        return Ok(found);
    }
    let (node, ty) = compile_once(expr, scope)?;
    if node.is_constant() {
        return Ok((node, ty));
    }
    let mut shared = scope.shared.borrow_mut();
    shared.push((expr, node, ty.clone()));
    Ok((Node::Shared(shared.len() - 1), ty))
}

/// Compiles to a node and its type, folding constants that do not fault.
fn compile_once<'a>(expr: &'a Expr, scope: &Scope<'a>) -> Result<(Node, SqlType)> {
    let (node, ty) = compile_node(expr, scope)?;
    if matches!(node, Node::Constant(_) | Node::Column(_)) || !node.is_constant() {
        return Ok((node, ty));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let batch = RecordBatch::try_new_with_options(Arc::new(ArrowSchema::empty()), Vec::new(), &options)?;
    let value = node.evaluate(&batch, &Memo { shared: &[], values: RefCell::default() })?;
    if !value.faults.is_empty() || value.values.len() != 1 {
        return Ok((node, ty));
    }
    Ok((Node::Constant(value.values), ty))
}

fn compile_as<'a>(expr: &'a Expr, to: &SqlType, scope: &Scope<'a>) -> Result<Node> {
    if let Expr::Literal(literal) = expr
        && literal.value == super::literal::Value::Null
    {
        return Ok(Node::Constant(super::literal::Literal::null(to.clone()).to_array()?));
    }
    let (node, from) = compile(expr, scope)?;
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

fn condition<'a>(expr: &'a Expr, scope: &Scope<'a>) -> Result<Node> {
    if let Expr::Literal(literal) = expr
        && literal.value == super::literal::Value::Null
    {
        return compile_as(expr, &SqlType::Boolean, scope);
    }
    let (node, ty) = compile(expr, scope)?;
    if ty != SqlType::Boolean {
        return Err(Error::invalid(format!("argument of a condition must be type boolean, not type {ty}"))
            .with_code(sqlstate::DATATYPE_MISMATCH));
    }
    Ok(node)
}

fn all<'a>(exprs: impl IntoIterator<Item = &'a Expr>, compile: impl Fn(&'a Expr) -> Result<Node>) -> Result<Vec<Node>> {
    exprs.into_iter().map(compile).collect()
}

fn compile_node<'a>(expr: &'a Expr, scope: &Scope<'a>) -> Result<(Node, SqlType)> {
    let ty = expr.ty(scope.input)?;
    let node = match expr {
        Expr::Column(index) => Node::Column(*index),
        Expr::Literal(literal) => Node::Constant(literal.to_array()?),
        Expr::Binary { op, left, right } => compile_binary(*op, left, right, scope)?,
        Expr::And(args) => Node::Connect { args: all(args, |arg| condition(arg, scope))?, all: true },
        Expr::Or(args) => Node::Connect { args: all(args, |arg| condition(arg, scope))?, all: false },
        Expr::Not(arg) => Node::Not(Box::new(condition(arg, scope)?)),
        Expr::Negate(arg) => Node::Negate(Box::new(compile(arg, scope)?.0), ty.clone()),
        Expr::Is { expr, test, negated } => {
            let arg = match test {
                Test::Null => compile(expr, scope)?.0,
                Test::True | Test::False => condition(expr, scope)?,
            };
            Node::Is { arg: Box::new(arg), test: *test, negated: *negated }
        }
        Expr::Case { branches, otherwise } => {
            let branches = branches
                .iter()
                .map(|(when, then)| Ok((condition(when, scope)?, compile_as(then, &ty, scope)?)))
                .collect::<Result<_>>()?;
            let otherwise = match otherwise {
                Some(expr) => compile_as(expr, &ty, scope)?,
                None => Node::Constant(super::literal::Literal::null(ty.clone()).to_array()?),
            };
            Node::Case { branches, otherwise: Box::new(otherwise) }
        }
        Expr::Cast { expr, to } => compile_as(expr, to, scope)?,
        Expr::InList { expr, list, negated } => compile_in_list(expr, list, *negated, scope)?,
        Expr::Like { expr, pattern, escape, negated, insensitive } => {
            let args = [text_operand(expr, scope)?, text_operand(pattern, scope)?];
            Node::Like { args: Box::new(args), escape: *escape, negated: *negated, insensitive: *insensitive }
        }
        Expr::Coalesce(args) => Node::Coalesce(all(args, |arg| compile_as(arg, &ty, scope))?),
        Expr::Extreme { args, greatest } => {
            Node::Extreme { args: all(args, |arg| compile_as(arg, &ty, scope))?, greatest: *greatest }
        }
        Expr::Call { function, args, ty } => compile_call(function, args, ty, scope)?,
    };
    Ok((node, ty))
}

fn text_operand<'a>(expr: &'a Expr, scope: &Scope<'a>) -> Result<Node> {
    let ty = expr.ty(scope.input)?;
    if ty != SqlType::Varchar {
        return Err(no_operator("LIKE", &[&ty, &SqlType::Varchar]));
    }
    compile_as(expr, &SqlType::Varchar, scope)
}

fn compile_binary<'a>(op: BinaryOp, left: &'a Expr, right: &'a Expr, scope: &Scope<'a>) -> Result<Node> {
    let (left_type, right_type) = (left.ty(scope.input)?, right.ty(scope.input)?);
    let mismatch = || no_operator(op.symbol(), &[&left_type, &right_type]);
    if op.is_arithmetic() {
        let types = typing::arithmetic(op, &left_type, &right_type).ok_or_else(mismatch)?;
        let args = [compile_as(left, &types.left, scope)?, compile_as(right, &types.right, scope)?];
        return Ok(Node::Arithmetic {
            op,
            args: Box::new(args),
            types: Box::new([types.left, types.right, types.result]),
        });
    }
    if op == BinaryOp::Concat {
        let ty = binary_type(op, &left_type, &right_type)?;
        let args = [compile_as(left, &ty, scope)?, compile_as(right, &ty, scope)?];
        return Ok(Node::Concat { args: Box::new(args), bytes: ty == SqlType::Bytea });
    }
    let ty = typing::common_of([left, right].into_iter(), scope.input, op.symbol()).map_err(|_| mismatch())?;
    Ok(Node::Compare { op, args: Box::new([compile_as(left, &ty, scope)?, compile_as(right, &ty, scope)?]) })
}

fn compile_in_list<'a>(expr: &'a Expr, list: &'a [Expr], negated: bool, scope: &Scope<'a>) -> Result<Node> {
    let equal = all(list, |item| compile_binary(BinaryOp::Equal, expr, item, scope))?;
    let any = Node::Connect { args: equal, all: false };
    Ok(if negated { Node::Not(Box::new(any)) } else { any })
}

fn compile_call<'a>(function: &str, args: &'a [Expr], ty: &SqlType, scope: &Scope<'a>) -> Result<Node> {
    let compiled = args.iter().map(|arg| compile(arg, scope)).collect::<Result<Vec<_>>>()?;
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
            Node::Column(_) | Node::Shared(_) => false,
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

    fn evaluate(&self, batch: &RecordBatch, memo: &Memo<'_>) -> Result<Col> {
        let rows = batch.num_rows();
        let many = |args: &[Node]| args.iter().map(|arg| arg.evaluate(batch, memo)).collect::<Result<Vec<_>>>();
        match self {
            Node::Column(index) => match batch.columns().get(*index) {
                Some(column) => Ok(Col::array(Arc::clone(column))),
                None => Err(Error::internal(format!("batch has no column #{index}"))),
            },
            Node::Constant(value) => Ok(Col::scalar(Arc::clone(value))),
            Node::Shared(place) => memo.value(*place, batch),
            Node::Arithmetic { op, args, types } => {
                let [left, right] = [args[0].evaluate(batch, memo)?, args[1].evaluate(batch, memo)?];
                arithmetic::binary(*op, left, right, types.each_ref(), rows)
            }
            Node::Compare { op, args } => {
                compare::binary(*op, args[0].evaluate(batch, memo)?, args[1].evaluate(batch, memo)?, rows)
            }
            Node::Concat { args, bytes } => {
                kernels::string::concat(args[0].evaluate(batch, memo)?, args[1].evaluate(batch, memo)?, *bytes, rows)
            }
            Node::Connect { args, all } => logic::connect(many(args)?, *all, rows),
            Node::Not(arg) => logic::negate(arg.evaluate(batch, memo)?),
            Node::Negate(arg, ty) => arithmetic::negate(arg.evaluate(batch, memo)?, ty),
            Node::Is { arg, test, negated } => logic::is(arg.evaluate(batch, memo)?, *test, *negated),
            Node::Case { branches, otherwise } => {
                let branches = branches
                    .iter()
                    .map(|(when, then)| Ok((when.evaluate(batch, memo)?, then.evaluate(batch, memo)?)))
                    .collect::<Result<Vec<_>>>()?;
                logic::case(branches, otherwise.evaluate(batch, memo)?, rows)
            }
            Node::Cast { arg, from, to } => cast::cast(arg.evaluate(batch, memo)?, from, to),
            Node::Like { args, escape, negated, insensitive } => {
                let [text, pattern] = [args[0].evaluate(batch, memo)?, args[1].evaluate(batch, memo)?];
                like::matches(text, pattern, *escape, [*negated, *insensitive], rows)
            }
            Node::Coalesce(args) => logic::coalesce(many(args)?, rows),
            Node::Extreme { args, greatest } => logic::extreme(many(args)?, *greatest, rows),
            Node::Native { native, args } => native.evaluate(many(args)?, rows),
            Node::Call { call, args } => call.evaluate(many(args)?, rows),
        }
    }
}

impl Memo<'_> {
    fn value(&self, place: usize, batch: &RecordBatch) -> Result<Col> {
        let missing = || Error::internal(format!("expression has no shared part {place}"));
        if let Some(value) = self.values.borrow().get(place).ok_or_else(missing)? {
            return Ok(value.clone());
        }
        let value = self.shared.get(place).ok_or_else(missing)?.evaluate(batch, self)?;
        self.values.borrow_mut()[place] = Some(value.clone());
        Ok(value)
    }
}
