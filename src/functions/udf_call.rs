//! Calls of DataFusion's scalar functions: when a batch errors it is halved until the faulty rows are found.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, Volatility};

use super::fault::{Fault, Reason, merge};
use super::kernels::{Col, align, operand_faults};
use super::native::missing;
use super::refused;
use crate::base::{Error, Result, sqlstate};
use crate::types::SqlType;

/// A scalar function of DataFusion, resolved for its argument types.
#[derive(Clone, Debug)]
pub(crate) struct UdfCall {
    udf: Arc<ScalarUDF>,
    args: Vec<DataType>,
    fields: Vec<FieldRef>,
    returns: FieldRef,
    ty: DataType,
    config: Arc<ConfigOptions>,
}

/// DataFusion's scalar functions by name and alias, those refused left out.
pub(crate) fn registry() -> &'static HashMap<String, Arc<ScalarUDF>> {
    static REGISTRY: OnceLock<HashMap<String, Arc<ScalarUDF>>> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let mut functions = HashMap::new();
        for udf in datafusion::functions::all_default_functions() {
            for name in std::iter::once(udf.name()).chain(udf.aliases().iter().map(String::as_str)) {
                if refused::why(name).is_none() {
                    functions.insert(name.to_owned(), Arc::clone(&udf));
                }
            }
        }
        functions
    })
}

/// A message of DataFusion without its layer's prefix.
pub(crate) fn plain_message(error: &datafusion::error::DataFusionError) -> String {
    let text = error.strip_backtrace();
    let tail = ["Execution error: ", "Arrow error: ", "Error during planning: ", "Compute error: "]
        .iter()
        .fold(text.as_str(), |text, prefix| text.strip_prefix(prefix).unwrap_or(text));
    tail.lines().next().unwrap_or(tail).trim_end_matches('.').to_owned()
}

impl UdfCall {
    /// The function `name` for arguments of `types`, with a result cast to `ty`.
    pub fn new(name: &str, types: &[SqlType], constants: &[Option<ArrayRef>], ty: &SqlType) -> Result<UdfCall> {
        if let Some(why) = refused::why(name) {
            return Err(why);
        }
        let Some(udf) = registry().get(name).cloned() else { return Err(missing(name, types)) };
        if udf.signature().volatility == Volatility::Volatile {
            return Err(refused::volatile(name));
        }
        let (fields, returns) = signature(&udf, types, constants)
            .map_err(|error| missing(name, types).with_detail(format!("{}.", plain_message(&error))))?;
        let args = fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(UdfCall { udf, args, fields, returns, ty: ty.arrow(), config: Arc::new(ConfigOptions::default()) })
    }

    /// Evaluates it; rows for which it errors are faults.
    pub fn evaluate(&self, mut args: Vec<Col>, rows: usize) -> Result<Col> {
        let (rows, scalar) = if args.is_empty() { (rows, false) } else { align(&mut args, rows)? };
        let faults = operand_faults(&mut args);
        let mut values = Vec::with_capacity(args.len());
        for (arg, ty) in args.into_iter().zip(&self.args) {
            let cast = if arg.values.data_type() == ty { arg.values } else { arrow::compute::cast(&arg.values, ty)? };
            values.push((cast, arg.scalar));
        }
        let mut found = Vec::new();
        let mut parts = Vec::new();
        self.run(&values, 0, rows, &mut parts, &mut found)?;
        let values = match parts.len() {
            1 => parts.remove(0),
            _ => arrow::compute::concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<&dyn Array>>())?,
        };
        Ok(Col { values, scalar, faults: merge(faults, found) })
    }

    fn run(
        &self,
        args: &[(ArrayRef, bool)],
        from: usize,
        rows: usize,
        parts: &mut Vec<ArrayRef>,
        faults: &mut Vec<Fault>,
    ) -> Result<()> {
        if rows == 0 {
            parts.push(arrow::array::new_empty_array(&self.ty));
            return Ok(());
        }
        match self.invoke(args, from, rows) {
            Ok(values) => parts.push(values),
            Err(error) if rows <= 1 => {
                let code = error_code(&error);
                faults.push(Fault { row: from as u32, reason: Reason::new(code, plain_message(&error)) });
                parts.push(new_null_array(&self.ty, rows));
            }
            Err(_) => {
                let half = rows / 2;
                self.run(args, from, half, parts, faults)?;
                self.run(args, from + half, rows - half, parts, faults)?;
            }
        }
        Ok(())
    }

    fn invoke(&self, args: &[(ArrayRef, bool)], from: usize, rows: usize) -> datafusion::error::Result<ArrayRef> {
        let args = args
            .iter()
            .map(|(values, scalar)| {
                Ok(match scalar {
                    true => ColumnarValue::Scalar(ScalarValue::try_from_array(values, 0)?),
                    false => ColumnarValue::Array(values.slice(from, rows)),
                })
            })
            .collect::<datafusion::error::Result<Vec<_>>>()?;
        let result = self.udf.invoke_with_args(ScalarFunctionArgs {
            args,
            arg_fields: self.fields.clone(),
            number_rows: rows,
            return_field: Arc::clone(&self.returns),
            config_options: Arc::clone(&self.config),
        })?;
        let values = result.into_array(rows)?;
        if *values.data_type() == self.ty { Ok(values) } else { Ok(arrow::compute::cast(&values, &self.ty)?) }
    }
}

fn error_code(error: &datafusion::error::DataFusionError) -> &'static str {
    match error.find_root() {
        datafusion::error::DataFusionError::External(inner) => {
            inner.downcast_ref::<Error>().map_or(sqlstate::DATA_EXCEPTION, Error::sqlstate)
        }
        _ => sqlstate::DATA_EXCEPTION,
    }
}

fn signature(
    udf: &Arc<ScalarUDF>,
    types: &[SqlType],
    constants: &[Option<ArrayRef>],
) -> datafusion::error::Result<(Vec<FieldRef>, FieldRef)> {
    let fields: Vec<FieldRef> =
        types.iter().enumerate().map(|(i, ty)| Arc::new(Field::new(format!("a{i}"), ty.arrow(), true))).collect();
    let fields = fields_with_udf(&fields, udf.as_ref())?;
    let mut scalars = Vec::with_capacity(fields.len());
    for (field, constant) in fields.iter().zip(constants) {
        scalars.push(match constant {
            Some(value) => Some(ScalarValue::try_from_array(&arrow::compute::cast(value, field.data_type())?, 0)?),
            None => None,
        });
    }
    let scalars: Vec<Option<&ScalarValue>> = scalars.iter().map(Option::as_ref).collect();
    let returns = udf.return_field_from_args(ReturnFieldArgs { arg_fields: &fields, scalar_arguments: &scalars })?;
    Ok((fields, returns))
}

/// The SQL type that the function `name` gives for arguments of `types`.
pub(crate) fn return_type(name: &str, types: &[SqlType], constants: &[Option<ArrayRef>]) -> Result<SqlType> {
    let Some(udf) = registry().get(name) else { return Err(missing(name, types)) };
    let (_, field) = signature(udf, types, constants)
        .map_err(|error| missing(name, types).with_detail(format!("{}.", plain_message(&error))))?;
    SqlType::from_arrow(field.data_type())
}

/// DataFusion's functions that are refused or replaced by ours.
pub(crate) fn refused_names() -> &'static [&'static str] {
    refused::NAMES
}
