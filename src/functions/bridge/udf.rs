//! Our operators and functions as DataFusion scalar functions, all evaluated by [`Compiled`].

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr as Logical, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::base::Error;
use crate::functions::compiled::Compiled;
use crate::functions::expr::{BinaryOp, Expr};
use crate::functions::fault::Evaluated;
use crate::functions::literal::Literal;
use crate::functions::native::{Native, missing};
use crate::functions::scalar;
use crate::types::{Column, Schema, SqlType};

/// What a function of ours computes from its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Template {
    /// A binary operator.
    Operator(BinaryOp),
    /// A native function by name.
    Native(String),
    /// A whole expression; its column `i` is argument `i`.
    Whole(Expr),
    /// Functions of users: the one whose parameters fit the arguments best.
    Sql(Vec<SqlBody>),
}

/// A function that a user wrote in SQL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SqlBody {
    /// The types of its parameters.
    pub parameters: Vec<SqlType>,
    /// Its result; column `i` is parameter `i`.
    pub body: Expr,
}

/// So many parts an expression may have once all functions of users are written out.
const PARTS_MAX: usize = 50_000;

/// The body that fits `args` best, with these in the places of its parameters.
fn written_out(name: &str, bodies: &[SqlBody], args: &[Expr], input: &Schema) -> crate::base::Result<Expr> {
    let types = args.iter().map(|arg| arg.ty(input)).collect::<crate::base::Result<Vec<_>>>()?;
    let cost = |body: &SqlBody| {
        let same = body.parameters.len() == args.len();
        let each = args.iter().zip(&types).zip(&body.parameters);
        let each = each.map(|((arg, ty), wanted)| parameter_cost(arg, ty, wanted));
        each.sum::<Option<u32>>().filter(|_| same)
    };
    let best = bodies.iter().filter_map(|body| Some((cost(body)?, body))).min_by_key(|(cost, _)| *cost);
    let Some((_, body)) = best else { return Err(crate::functions::native::missing(name, &types)) };
    let given = args.iter().zip(&types).zip(&body.parameters).map(|((arg, ty), wanted)| match arg {
        Expr::Literal(literal) if literal.value == crate::functions::Value::Null => {
            Expr::Literal(Literal::null(wanted.clone()))
        }
        arg if ty == wanted => arg.clone(),
        arg => arg.clone().cast(wanted.clone()),
    });
    let whole = body.body.substitute(&given.collect::<Vec<_>>());
    let mut parts = 0;
    whole.visit(&mut |_| parts += 1);
    if parts > PARTS_MAX {
        return Err(Error::limit(format!("function {name} makes the expression longer than {PARTS_MAX} parts"))
            .with_code(crate::base::sqlstate::STATEMENT_TOO_COMPLEX)
            .with_hint("Compute what is called more than once in a sub-query."));
    }
    Ok(whole)
}

/// What it costs to give `arg` for a parameter; `None` when it does not fit without an explicit cast.
fn parameter_cost(arg: &Expr, ty: &SqlType, wanted: &SqlType) -> Option<u32> {
    use crate::functions::Value;
    match arg {
        Expr::Literal(Literal { value: Value::Null, .. }) => return Some(0),
        Expr::Literal(Literal { value: Value::Text(_), ty: SqlType::Varchar }) if *wanted != SqlType::Varchar => {
            return Some(10);
        }
        Expr::Literal(Literal { value: Value::Integer(value), ty: SqlType::BigInt })
            if *wanted == SqlType::Int && i32::try_from(*value).is_ok() =>
        {
            return Some(0);
        }
        _ => {}
    }
    if ty == wanted {
        return Some(0);
    }
    let decimals = matches!((ty, wanted), (SqlType::Decimal { .. }, SqlType::Decimal { .. }));
    let widens = decimals || crate::functions::typing::common(ty, wanted).as_ref() == Some(wanted);
    let integer = matches!(ty, SqlType::SmallInt | SqlType::Int | SqlType::BigInt);
    widens
        .then_some(if integer && matches!(wanted, SqlType::Decimal { .. }) { 3 } else { 1 })
        .or_else(|| (integer && matches!(wanted, SqlType::Decimal { .. })).then_some(3))
}

/// The functions of users called `name`, as DataFusion wants them.
pub fn sql_function(name: &str, bodies: Vec<SqlBody>) -> Arc<ScalarUDF> {
    IrUdf::new(name, Template::Sql(bodies)).into_udf()
}

fn is_series(name: &str) -> bool {
    name == "__series"
}

fn has_series(expr: &Expr) -> bool {
    let mut found = false;
    expr.visit(&mut |expr| found |= matches!(expr, Expr::Call { function, .. } if is_series(function)));
    found
}

impl Template {
    fn makes_series(&self) -> bool {
        match self {
            Template::Operator(_) => false,
            Template::Native(name) => is_series(name),
            Template::Whole(expr) => has_series(expr),
            Template::Sql(bodies) => bodies.iter().any(|body| has_series(&body.body)),
        }
    }
}

/// A function whose meaning is an expression of the IR.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct IrUdf {
    name: String,
    pub(crate) template: Template,
    signature: Signature,
}

/// An error of ours, to travel through DataFusion.
pub(crate) fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

impl IrUdf {
    /// A function called `name`.
    pub fn new(name: impl Into<String>, template: Template) -> IrUdf {
        // A series of constants must not be written out where its query is planned.
        let volatility = if template.makes_series() { Volatility::Volatile } else { Volatility::Immutable };
        IrUdf { name: name.into(), template, signature: Signature::user_defined(volatility) }
    }

    /// As DataFusion wants it.
    pub fn into_udf(self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(self))
    }

    /// The function behind `udf`, if it is one of ours.
    pub fn of(udf: &ScalarUDF) -> Option<&IrUdf> {
        let inner: &dyn std::any::Any = udf.inner().as_ref();
        inner.downcast_ref::<IrUdf>()
    }

    /// The expression that it means for these arguments.
    pub fn expand(&self, args: Vec<Expr>, input: &Schema) -> crate::base::Result<Expr> {
        match &self.template {
            Template::Operator(op) => {
                let [left, right] = args.as_slice() else {
                    let types = args.iter().map(|arg| arg.ty(input)).collect::<crate::base::Result<Vec<_>>>()?;
                    return Err(missing(&self.name, &types));
                };
                Ok(Expr::binary(*op, left.clone(), right.clone()))
            }
            Template::Native(name) => {
                let types = args.iter().map(|arg| arg.ty(input)).collect::<crate::base::Result<Vec<_>>>()?;
                let constants = args.iter().map(constant).collect::<crate::base::Result<Vec<_>>>()?;
                let native = Native::find(name, &types, &constants)?
                    .ok_or_else(|| Error::internal(format!("native function {name} is not there")))?;
                Ok(Expr::Call { function: name.clone(), args, ty: native.ty })
            }
            Template::Whole(expr) => Ok(expr.substitute(&args)),
            Template::Sql(bodies) => written_out(&self.name, bodies, &args, input),
        }
    }

    /// The expression over arguments (columns for arrays, literals for constants) and its input schema.
    fn bind(&self, types: &[DataType], constants: &[Option<Literal>]) -> crate::base::Result<(Expr, Schema)> {
        let column = |(i, ty)| Ok(Column::new(format!("a{i}"), SqlType::from_arrow(ty)?));
        let columns = types.iter().enumerate().map(column).collect::<crate::base::Result<Vec<_>>>()?;
        let input = Schema::new(columns);
        let args = constants.iter().enumerate();
        let args = args.map(|(i, constant)| constant.clone().map_or(Expr::Column(i), Expr::Literal)).collect();
        Ok((self.expand(args, &input)?, input))
    }
}

fn constant(expr: &Expr) -> crate::base::Result<Option<ArrayRef>> {
    if let Expr::Literal(literal) = expr { Ok(Some(literal.to_array()?)) } else { Ok(None) }
}

/// A scalar of DataFusion as a literal of one of the SQL types.
pub(crate) fn literal_of(value: &ScalarValue) -> crate::base::Result<Literal> {
    let ty = SqlType::from_arrow(&value.data_type())?;
    let array = value.to_array().map_err(super::error_from_datafusion)?;
    let array = if *array.data_type() == ty.arrow() { array } else { arrow::compute::cast(&array, &ty.arrow())? };
    Literal::from_array(array.as_ref(), 0)
}

impl ScalarUDFImpl for IrUdf {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Logical]) -> Result<String> {
        let args: Vec<String> = args.iter().map(|arg| arg.schema_name().to_string()).collect();
        Ok(match (&self.template, &args[..]) {
            (Template::Operator(op), [left, right]) => format!("{left} {} {right}", op.symbol()),
            (Template::Whole(expr), _) => format!("{expr} [{}]", args.join(", ")),
            _ => format!("{}({})", self.name, args.join(",")),
        })
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        // The functions of our table take NULL as what they want; operators and the older ones want a type.
        let takes_null = match &self.template {
            Template::Native(name) => scalar::exists(name),
            Template::Sql(_) => true,
            Template::Operator(_) | Template::Whole(_) => false,
        };
        let known = types.iter().find(|ty| !ty.is_null()).cloned().unwrap_or(DataType::Int32);
        let types = types.iter().map(|ty| {
            if takes_null && ty.is_null() {
                return Ok(DataType::Null);
            }
            let ty = if ty.is_null() && !matches!(self.template, Template::Whole(_)) { &known } else { ty };
            Ok(SqlType::from_arrow(ty).map_err(external)?.arrow())
        });
        types.collect()
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        datafusion::common::internal_err!("the result of {} depends on its arguments", self.name)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let constants = args.scalar_arguments.iter().map(|value| value.map(literal_of).transpose());
        let constants = constants.collect::<crate::base::Result<Vec<_>>>().map_err(external)?;
        let (expr, input) = self.bind(&types, &constants).map_err(external)?;
        let ty = expr.ty(&input).map_err(external)?;
        Ok(Arc::new(Field::new(&self.name, ty.arrow(), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let all_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if all_scalar { 1 } else { args.number_rows };
        let types: Vec<DataType> = args.args.iter().map(ColumnarValue::data_type).collect();
        let mut constants = Vec::with_capacity(types.len());
        let mut columns = Vec::with_capacity(types.len());
        for (arg, ty) in args.args.iter().zip(&types) {
            let to = SqlType::from_arrow(ty).map_err(external)?.arrow();
            let (constant, column) = match arg {
                ColumnarValue::Scalar(value) => {
                    (Some(literal_of(value).map_err(external)?), value.to_array_of_size(rows)?)
                }
                ColumnarValue::Array(values) => (None, Arc::clone(values)),
            };
            constants.push(constant);
            columns.push(if *column.data_type() == to { column } else { arrow::compute::cast(&column, &to)? });
        }
        let (expr, input) = self.bind(&types, &constants).map_err(external)?;
        let compiled = Compiled::new(&expr, &input).map_err(external)?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(input.arrow(), columns, &options)?;
        let values = compiled.evaluate(&batch).and_then(Evaluated::all).map_err(external)?;
        let to = args.return_field.data_type();
        let values = if values.data_type() == to { values } else { arrow::compute::cast(&values, to)? };
        if all_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?));
        }
        Ok(ColumnarValue::Array(values))
    }
}

/// The value of an expression without columns; `None` if it faults.
pub(super) fn constant_value(expr: &Expr) -> crate::base::Result<Option<ScalarValue>> {
    let none = Schema::default();
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(none.arrow(), Vec::new(), &options)?;
    let Evaluated { values, faults } = Compiled::new(expr, &none)?.evaluate(&row)?;
    if faults.is_some() {
        return Ok(None);
    }
    Ok(Some(ScalarValue::try_from_array(&values, 0).map_err(super::error_from_datafusion)?))
}

/// A call of our function `name`.
pub fn native_call(name: &str, args: Vec<Logical>) -> Logical {
    IrUdf::new(name, Template::Native(name.to_owned())).into_udf().call(args)
}

/// A call of an arithmetic operator of ours.
pub(crate) fn operator(op: BinaryOp, left: Logical, right: Logical) -> Logical {
    let name = match op {
        BinaryOp::Add => "ms_add",
        BinaryOp::Subtract => "ms_subtract",
        BinaryOp::Multiply => "ms_multiply",
        BinaryOp::Divide => "ms_divide",
        BinaryOp::Modulo => "mod",
        BinaryOp::Equal | BinaryOp::NotEqual | BinaryOp::Distinct | BinaryOp::NotDistinct => "ms_equal",
        BinaryOp::Less | BinaryOp::LessEqual | BinaryOp::Greater | BinaryOp::GreaterEqual => "ms_order",
        BinaryOp::Concat => "ms_concat",
    };
    IrUdf::new(name, Template::Operator(op)).into_udf().call(vec![left, right])
}
