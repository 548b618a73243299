//! Aggregates: DataFusion's calls as ours, and our sum and avg as DataFusion's functions.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::AggregateFunctionParams;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr as Logical, GroupsAccumulator, Signature, Volatility,
};

use super::accumulate::{Distinct, Grouped, Single};
use super::lower::{from_datafusion, sql_schema};
use super::udf::external;
use crate::base::Error;
use crate::functions::aggregate::{AggregateCall, AggregateFunction};
use crate::types::SqlType;

/// The aggregate call of a logical expression over rows of `input`. ORDER BY inside the call, IGNORE NULLS and
/// functions other than count, sum, avg, min and max are `Invalid` errors.
pub fn aggregate_from_datafusion(expr: &Logical, input: &DFSchema) -> crate::base::Result<AggregateCall> {
    let expr = match expr {
        Logical::Alias(alias) => &alias.expr,
        other => other,
    };
    let Logical::AggregateFunction(call) = expr else {
        return Err(Error::internal(format!("{expr} is not an aggregate")));
    };
    let name = call.func.name();
    let AggregateFunctionParams { args, distinct, filter, order_by, null_treatment } = &call.params;
    let refuse = |what: String| Error::unsupported(format!("{what} cannot stand in a stored query yet"));
    if !order_by.is_empty() {
        return Err(refuse(format!("ORDER BY inside {name}")));
    }
    if null_treatment.is_some() {
        return Err(refuse(format!("IGNORE NULLS in {name}")));
    }
    let function = match name {
        "count" => AggregateFunction::Count,
        "sum" => AggregateFunction::Sum,
        "avg" | "mean" => AggregateFunction::Avg,
        "min" => AggregateFunction::Min,
        "max" => AggregateFunction::Max,
        other => {
            return Err(refuse(format!("aggregate function {other}"))
                .with_hint("Stored queries take count, sum, avg, min and max; others work when a view is read."));
        }
    };
    let filter = filter.as_ref().map(|filter| from_datafusion(filter, input)).transpose()?;
    let all_rows = function == AggregateFunction::Count
        && !distinct
        && args.iter().all(|arg| matches!(arg, Logical::Literal(value, _) if !value.is_null()));
    let schema = sql_schema(input);
    if all_rows {
        return AggregateCall::new(AggregateFunction::CountStar, Vec::new(), false, filter, &schema);
    }
    let [arg] = &args[..] else {
        return Err(refuse(format!("{name} of {} arguments", args.len())));
    };
    AggregateCall::new(function, vec![from_datafusion(arg, input)?], *distinct, filter, &schema)
}

/// `sum` or `avg` with PostgreSQL's types, exact for floats.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Exact {
    function: AggregateFunction,
    aliases: Vec<String>,
    signature: Signature,
}

impl Exact {
    /// Both functions.
    pub fn all() -> [Arc<AggregateUDF>; 2] {
        let exact = |function, aliases| {
            let signature = Signature::user_defined(Volatility::Immutable);
            Arc::new(AggregateUDF::new_from_impl(Exact { function, aliases, signature }))
        };
        [exact(AggregateFunction::Sum, Vec::new()), exact(AggregateFunction::Avg, vec!["mean".to_owned()])]
    }

    fn argument(args: &AccumulatorArgs) -> Result<SqlType> {
        match args.expr_fields {
            [field] => SqlType::from_arrow(field.data_type()).map_err(external),
            other => datafusion::common::internal_err!("aggregate was given {} arguments", other.len()),
        }
    }
}

impl AggregateUDFImpl for Exact {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [ty] = types else {
            return Err(external(Error::invalid(format!("function {} takes one argument", self.name()))));
        };
        let ty = if ty.is_null() { SqlType::Double } else { SqlType::from_arrow(ty).map_err(external)? };
        self.function.result_type(Some(&ty)).map_err(external)?;
        Ok(vec![ty.arrow()])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let ty = types.first().map(SqlType::from_arrow).transpose().map_err(external)?;
        Ok(self.function.result_type(ty.as_ref()).map_err(external)?.arrow())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[accumulator]", args.name), DataType::Binary, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let argument = Exact::argument(&args)?;
        if args.is_distinct {
            return Ok(Box::new(Distinct::new(self.function, &argument).map_err(external)?));
        }
        Ok(Box::new(Single::new(self.function, &argument).map_err(external)?))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let argument = Exact::argument(&args)?;
        Ok(Box::new(Grouped::new(self.function, &argument).map_err(external)?))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        ScalarValue::try_from(data_type)
    }
}
