//! Values in the place of parameters.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ParamValues, Result as PlanResult, ScalarValue};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr as Logical, ExprSchemable, LogicalPlan};

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

/// Types for the parameters that are cast to an array, or stand in `x = ANY ($1)` and its kin: arrays of what stands on the other side.
pub(super) fn of_arrays(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let unknown = |types: HashMap<String, Option<DataType>>| types.values().any(Option::is_none);
    if !unknown(plan.get_parameter_types()?) {
        return Ok(plan);
    }
    let typed = plan.transform_up_with_subqueries(|plan| {
        let schema = match plan.inputs().is_empty() {
            true => DFSchema::clone(plan.schema()),
            false => merge_schema(&plan.inputs()),
        };
        plan.map_expressions(|expr| {
            expr.transform_up(|mut expr| {
                let changed = of_array(&mut expr, &schema);
                Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
            })
        })
    });
    Ok(typed?.data)
}

/// Whether `expr` says what a parameter in it is an array of; it is noted there.
fn of_array(expr: &mut Logical, schema: &DFSchema) -> bool {
    let (parameter, field) = match expr {
        Logical::Cast(cast) => match (&mut *cast.expr, &cast.field) {
            (Logical::Placeholder(parameter), field) => (parameter, Arc::clone(field)),
            _ => return false,
        },
        Logical::ScalarFunction(call) => {
            let of_array = ["__any_", "__all_"].iter().any(|kind| call.func.name().starts_with(kind));
            match (&mut call.args[..], of_array) {
                ([one, Logical::Placeholder(parameter)], true) => {
                    let Ok(ty) = one.get_type(schema) else { return false };
                    (parameter, Arc::new(Field::new("", DataType::new_list(ty, true), true)))
                }
                _ => return false,
            }
        }
        _ => return false,
    };
    let unknown = parameter.field.is_none();
    if unknown {
        parameter.field = Some(field);
    }
    unknown
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
