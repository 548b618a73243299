//! Values in the place of parameters.

use arrow::array::{ArrayRef, RecordBatch};
use datafusion::common::{ParamValues, ScalarValue};

use super::BoundQuery;
use super::errors::planned;
use crate::base::{Error, Result, sqlstate};
use crate::functions::{Compiled, Expr};
use crate::types::{Column, Schema, SqlType};

impl BoundQuery {
    /// With `values` for `$1`, `$2`, ...: arrays of one value each, of the parameter's type or text that spells one.
    pub fn with_parameters(mut self, values: &[ArrayRef]) -> Result<BoundQuery> {
        if self.parameters.is_empty() {
            return Ok(self);
        }
        if values.len() < self.parameters.len() {
            let (given, needed) = (values.len(), self.parameters.len());
            return Err(Error::invalid(format!("statement has {needed} parameters, {given} were given"))
                .with_code(sqlstate::PROTOCOL_VIOLATION)
                .with_hint("Bind a value to every parameter."));
        }
        let values = self.parameters.iter().zip(values).map(|(ty, value)| {
            let value = typed(value, ty)?;
            Ok(planned(ScalarValue::try_from_array(&value, 0))?.into())
        });
        let values = ParamValues::List(values.collect::<Result<Vec<_>>>()?);
        self.plan = planned(self.plan.with_param_values(values))?;
        self.parameters.clear();
        Ok(self)
    }
}

/// One value as `ty`.
fn typed(value: &ArrayRef, ty: &SqlType) -> Result<ArrayRef> {
    if *value.data_type() == ty.arrow() {
        return Ok(ArrayRef::clone(value));
    }
    let schema = Schema::new(vec![Column::new("parameter", SqlType::from_arrow(value.data_type())?)]);
    let rows = RecordBatch::try_new(schema.arrow(), vec![ArrayRef::clone(value)])?;
    let cast = Compiled::new(&Expr::cast(Expr::Column(0), ty.clone()), &schema)?.evaluate(&rows)?;
    match cast.faults {
        None => Ok(cast.values),
        Some(faults) => Err(Error::fault(faults.reason(0).to_string())
            .with_code(sqlstate::INVALID_TEXT_REPRESENTATION)
            .with_hint(format!("Send a value that spells a {ty}."))),
    }
}
