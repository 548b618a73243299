//! Functions that read the catalog or the session, as functions of DataFusion. Each is made for one statement, with what
//! that statement sees; rows go through them one by one, since catalogs are small.

mod describe;
mod privileges;
mod session;
mod size;

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::Array;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result as PlanResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::Facts;
use super::names::{REGS, Reg, name, require};
use super::table::{Value, array};
use crate::base::{Error, Result, sqlstate};
use crate::catalog::postgres::as_type;
use crate::types::SqlType;

/// A function: what it is called, what it gives, how.
struct Entry {
    name: &'static str,
    returns: fn() -> SqlType,
    /// One NULL argument makes NULL.
    strict: bool,
    /// What its numbers are numbers of: `oid`, `regclass`, ...
    told: Option<&'static str>,
    /// How many arguments it takes, at least and at most.
    arguments: (usize, usize),
    run: fn(&Call<'_>) -> Result<Value>,
}

fn text() -> SqlType {
    SqlType::Varchar
}

fn flag() -> SqlType {
    SqlType::Boolean
}

fn number() -> SqlType {
    SqlType::BigInt
}

fn int() -> SqlType {
    SqlType::Int
}

fn texts() -> SqlType {
    SqlType::Array(Box::new(SqlType::Varchar))
}

fn ints() -> SqlType {
    SqlType::Array(Box::new(SqlType::Int))
}

fn time() -> SqlType {
    SqlType::TimestampTz
}

const fn entry(
    name: &'static str,
    arguments: (usize, usize),
    returns: fn() -> SqlType,
    run: fn(&Call<'_>) -> Result<Value>,
) -> Entry {
    Entry { name, returns, strict: true, told: None, arguments, run }
}

impl Entry {
    /// Gives numbers of objects, of type `told`.
    const fn told(mut self, told: &'static str) -> Entry {
        self.told = Some(told);
        self
    }

    /// NULL arguments are passed on.
    const fn loose(mut self) -> Entry {
        self.strict = false;
        self
    }
}

/// One call for one row.
struct Call<'a> {
    facts: &'a Facts,
    args: Vec<Value>,
    types: Vec<DataType>,
}

impl Call<'_> {
    /// Argument `index` as text, if it is one.
    fn text(&self, index: usize) -> Option<&str> {
        match self.args.get(index) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Argument `index` as a number; text is read.
    fn int(&self, index: usize) -> Option<i64> {
        match self.args.get(index)? {
            Value::Int(value) => Some(*value),
            Value::Float(value) => Some(*value as i64),
            Value::Text(text) => text.trim().parse().ok(),
            Value::Bool(value) => Some(i64::from(*value)),
            Value::Null | Value::Texts(_) | Value::Ints(_) => None,
        }
    }

    fn flag(&self, index: usize) -> bool {
        match self.args.get(index) {
            Some(Value::Bool(value)) => *value,
            Some(Value::Text(text)) => matches!(text.as_str(), "t" | "true" | "on" | "yes" | "1"),
            _ => false,
        }
    }

    /// Argument `index` as the number of an object: given as number, or by its name.
    fn oid(&self, index: usize, reg: Reg) -> Result<u32> {
        match self.args.get(index) {
            Some(Value::Text(text)) => require(reg, text, self.facts),
            _ => Ok(self.int(index).and_then(|value| u32::try_from(value).ok()).unwrap_or_default()),
        }
    }
}

/// All functions by name.
fn entries() -> &'static BTreeMap<&'static str, &'static Entry> {
    static FOUND: OnceLock<BTreeMap<&'static str, &'static Entry>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let all = [describe::ENTRIES, privileges::ENTRIES, session::ENTRIES, size::ENTRIES, CASTS];
        all.into_iter().flatten().map(|entry| (entry.name, entry)).collect()
    })
}

/// Their names.
pub(super) fn catalog_function_names() -> impl Iterator<Item = &'static str> {
    entries().keys().copied()
}

/// Whether there is a function `name` that reads the catalog or the session.
pub fn is_catalog_function(name: &str) -> bool {
    entries().contains_key(name)
}

/// The function `name` for a statement that sees `facts`.
pub fn catalog_function(name: &str, facts: &Arc<Facts>) -> Option<Arc<ScalarUDF>> {
    let entry = entries().get(name)?;
    let signature = Signature::one_of(
        vec![datafusion::logical_expr::TypeSignature::VariadicAny, datafusion::logical_expr::TypeSignature::Nullary],
        Volatility::Stable,
    );
    Some(Arc::new(ScalarUDF::new_from_impl(CatalogFunction { entry, facts: Arc::clone(facts), signature })))
}

/// Numbers of objects from their names, and names from their numbers: what casts to and from `regclass` and its kin
/// are made of.
const CASTS: &[Entry] = &[
    cast_in::<0>(),
    cast_in::<1>(),
    cast_in::<2>(),
    cast_in::<3>(),
    cast_in::<4>(),
    cast_in::<5>(),
    cast_in::<6>(),
    cast_in::<7>(),
    cast_in::<8>(),
    cast_in::<9>(),
    entry("__regclass_name", (1, 1), text, |call| shown(call, Reg::Class)),
    entry("__regtype_name", (1, 1), text, |call| shown(call, Reg::Type)),
    entry("__regnamespace_name", (1, 1), text, |call| shown(call, Reg::Namespace)),
    entry("__regrole_name", (1, 1), text, |call| shown(call, Reg::Role)),
    entry("__regproc_name", (1, 1), text, |call| shown(call, Reg::Proc)),
    entry("__regprocedure_name", (1, 1), text, |call| shown(call, Reg::Proc)),
    entry("__regcollation_name", (1, 1), text, |call| shown(call, Reg::Collation)),
    entry("__regoper_name", (1, 1), text, |call| shown(call, Reg::None)),
    entry("__regoperator_name", (1, 1), text, |call| shown(call, Reg::None)),
    entry("__regconfig_name", (1, 1), text, |call| shown(call, Reg::None)),
    entry("to_regclass", (1, 1), number, |call| Ok(perhaps(call, Reg::Class))).told("regclass"),
    entry("to_regtype", (1, 1), number, |call| Ok(perhaps(call, Reg::Type))).told("regtype"),
    entry("to_regnamespace", (1, 1), number, |call| Ok(perhaps(call, Reg::Namespace))).told("regnamespace"),
    entry("to_regrole", (1, 1), number, |call| Ok(perhaps(call, Reg::Role))).told("regrole"),
];

const fn cast_in<const KIND: usize>() -> Entry {
    entry(REGS[KIND].0, (1, 1), number, |call| Ok(call.oid(0, REGS[KIND].1)?.into())).told(REGS[KIND].0)
}

fn shown(call: &Call<'_>, reg: Reg) -> Result<Value> {
    let oid = call.oid(0, reg)?;
    Ok(name(reg, oid, call.facts).into())
}

fn perhaps(call: &Call<'_>, reg: Reg) -> Value {
    call.text(0).and_then(|text| super::names::find(reg, text, call.facts)).into()
}

/// An [`Entry`] with what one statement sees.
struct CatalogFunction {
    entry: &'static Entry,
    facts: Arc<Facts>,
    signature: Signature,
}

impl std::fmt::Debug for CatalogFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CatalogFunction").field("name", &self.entry.name).finish_non_exhaustive()
    }
}

impl PartialEq for CatalogFunction {
    fn eq(&self, other: &Self) -> bool {
        self.entry.name == other.entry.name && Arc::ptr_eq(&self.facts, &other.facts)
    }
}

impl Eq for CatalogFunction {}

impl Hash for CatalogFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.entry.name.hash(state);
    }
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

impl CatalogFunction {
    /// The field of its result.
    fn field(&self) -> Field {
        match self.entry.told {
            None => Field::new(self.entry.name, (self.entry.returns)().arrow(), true),
            Some(told) => as_type(Field::new(self.entry.name, DataType::UInt32, true), told),
        }
    }
}

impl ScalarUDFImpl for CatalogFunction {
    fn name(&self) -> &str {
        self.entry.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> PlanResult<DataType> {
        let (least, most) = self.entry.arguments;
        if (least..=most).contains(&types.len()) {
            return Ok(self.field().data_type().clone());
        }
        let shown: Vec<String> = types
            .iter()
            .map(|ty| SqlType::from_arrow(ty).map_or_else(|_| ty.to_string(), |ty| ty.to_string()))
            .collect();
        let error = Error::invalid(format!("function {}({}) does not exist", self.entry.name, shown.join(", ")))
            .with_code(sqlstate::UNDEFINED_FUNCTION)
            .with_hint(format!("It takes {least} to {most} arguments."));
        Err(external(error))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> PlanResult<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        self.return_type(&types)?;
        Ok(Arc::new(self.field()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let rows = args.number_rows;
        let all_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let count = if all_scalar { 1 } else { rows };
        let mut values = Vec::with_capacity(count);
        for row in 0..count {
            let mut given = Vec::with_capacity(arrays.len());
            for array in &arrays {
                given.push(value_at(array, row)?);
            }
            let null = self.entry.strict && given.contains(&Value::Null);
            let call = Call { facts: &self.facts, args: given, types: types.clone() };
            values.push(if null { Value::Null } else { (self.entry.run)(&call).map_err(external)? });
        }
        let values = array(&(self.entry.returns)(), values.iter()).map_err(external)?;
        let wanted = args.return_field.data_type();
        let values = if values.data_type() == wanted { values } else { cast(&values, wanted)? };
        if all_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?));
        }
        Ok(ColumnarValue::Array(values))
    }
}

fn value_at(array: &dyn Array, row: usize) -> PlanResult<Value> {
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match ScalarValue::try_from_array(array, row)? {
        ScalarValue::Boolean(value) => value.into(),
        ScalarValue::Int16(value) => value.map(i64::from).into(),
        ScalarValue::Int32(value) => value.into(),
        ScalarValue::Int64(value) => value.into(),
        ScalarValue::UInt32(value) => value.into(),
        ScalarValue::Float32(value) => value.map(f64::from).into(),
        ScalarValue::Float64(value) => value.into(),
        ScalarValue::Utf8(value) | ScalarValue::LargeUtf8(value) | ScalarValue::Utf8View(value) => value.into(),
        ScalarValue::Decimal128(Some(value), _, scale) => Value::Float(value as f64 / 10f64.powi(i32::from(scale))),
        other => Value::Text(other.to_string()),
    })
}
