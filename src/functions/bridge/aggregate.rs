//! Aggregates: ours as DataFusion's functions, and DataFusion's calls as ours. One table names them all.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunctionParams, NullTreatment};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr as Logical, GroupsAccumulator, Signature, Volatility,
};

use super::accumulate::{Collected, Grouped, Shown, Single, is_summed, one_call};
use super::in_order::InOrder;
use super::lower::{from_datafusion, sql_schema};
use super::udf::external;
use crate::base::{Error, sqlstate};
use crate::functions::aggregate::{AggregateCall, AggregateFunction, Order};
use crate::functions::expr::{Expr, Test};
use crate::functions::literal::{FloatBits, Literal, Value};
use crate::types::SqlType;

/// One name of an aggregate.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Entry {
    name: &'static str,
    aliases: &'static [&'static str],
    function: AggregateFunction,
    shape: Shape,
}

/// How a call of that name is one of the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Shape {
    /// As it is.
    Plain,
    /// With the fraction one half.
    Half,
    /// With DISTINCT.
    Distinct,
}

const fn entry(name: &'static str, aliases: &'static [&'static str], function: AggregateFunction) -> Entry {
    Entry { name, aliases, function, shape: Shape::Plain }
}

/// Every aggregate that DataFusion is given of ours, in place of its own of that name. What is approximate elsewhere is
/// exact here: an answer is a function of the rows alone. count, min and max are ours in stored queries, and
/// DataFusion's, which mean the same, in reads.
static ENTRIES: &[Entry] = &[
    entry("sum", &[], AggregateFunction::Sum),
    entry("avg", &["mean"], AggregateFunction::Avg),
    entry("any_value", &[], AggregateFunction::Min),
    entry("bool_and", &["every"], AggregateFunction::BoolAnd),
    entry("bool_or", &[], AggregateFunction::BoolOr),
    entry("bit_and", &[], AggregateFunction::BitAnd),
    entry("bit_or", &[], AggregateFunction::BitOr),
    entry("bit_xor", &[], AggregateFunction::BitXor),
    entry("var_pop", &["var_population"], AggregateFunction::VarPop),
    entry("var", &["var_samp", "var_sample", "variance"], AggregateFunction::VarSamp),
    entry("stddev_pop", &[], AggregateFunction::StddevPop),
    entry("stddev", &["stddev_samp"], AggregateFunction::StddevSamp),
    entry("covar_pop", &[], AggregateFunction::CovarPop),
    entry("covar_samp", &["covar"], AggregateFunction::CovarSamp),
    entry("corr", &[], AggregateFunction::Corr),
    entry("regr_count", &[], AggregateFunction::RegrCount),
    entry("regr_avgx", &[], AggregateFunction::RegrAvgx),
    entry("regr_avgy", &[], AggregateFunction::RegrAvgy),
    entry("regr_sxx", &[], AggregateFunction::RegrSxx),
    entry("regr_syy", &[], AggregateFunction::RegrSyy),
    entry("regr_sxy", &[], AggregateFunction::RegrSxy),
    entry("regr_slope", &[], AggregateFunction::RegrSlope),
    entry("regr_intercept", &[], AggregateFunction::RegrIntercept),
    entry("regr_r2", &[], AggregateFunction::RegrR2),
    entry("first_value", &[], AggregateFunction::FirstValue),
    entry("last_value", &[], AggregateFunction::LastValue),
    entry("string_agg", &[], AggregateFunction::StringAgg),
    entry("array_agg", &[], AggregateFunction::ArrayAgg),
    entry("percentile_cont", &["quantile_cont", "approx_percentile_cont"], AggregateFunction::PercentileCont),
    entry("percentile_disc", &["approx_percentile"], AggregateFunction::PercentileDisc),
    entry("mode", &[], AggregateFunction::Mode),
    Entry {
        name: "median",
        aliases: &["approx_median"],
        function: AggregateFunction::PercentileCont,
        shape: Shape::Half,
    },
    Entry { name: "approx_distinct", aliases: &[], function: AggregateFunction::Count, shape: Shape::Distinct },
];

/// Names of DataFusion's that are replaced although ours have them as aliases only, or not at all.
const REPLACED: &[&str] = &["approx_median", "approx_percentile_cont", "approx_percentile_cont_with_weight"];

/// Whether DataFusion's function `name` makes way for one of ours.
pub(super) fn is_replaced(name: &str) -> bool {
    REPLACED.contains(&name) || ENTRIES.iter().any(|entry| entry.name == name)
}

/// All of ours.
pub(super) fn aggregate_functions() -> impl Iterator<Item = Arc<AggregateUDF>> {
    ENTRIES.iter().map(|entry| Arc::new(Ours::udaf(entry)))
}

/// Ours called `name`, for what the planner writes.
pub fn aggregate_function(name: &str) -> Option<Arc<AggregateUDF>> {
    ENTRIES.iter().find(|entry| entry.name == name).map(|entry| Arc::new(Ours::udaf(entry)))
}

/// The aggregate call of a logical expression over rows of `input`. What has no aggregate of ours is an `Invalid`
/// error that names it.
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
    let (function, shape) = match (Ours::of(&call.func), name) {
        (Some(ours), _) => (ours.entry.function, ours.entry.shape),
        (None, "count") => (AggregateFunction::Count, Shape::Plain),
        (None, "min") => (AggregateFunction::Min, Shape::Plain),
        (None, "max") => (AggregateFunction::Max, Shape::Plain),
        (None, other) => {
            return Err(Error::unsupported(format!("aggregate function {other} cannot stand in a stored query yet"))
                .with_hint("It works when a view is read."));
        }
    };
    let mut filter = filter.as_ref().map(|filter| from_datafusion(filter, input)).transpose()?;
    let all_rows = function == AggregateFunction::Count
        && !distinct
        && args.iter().all(|arg| matches!(arg, Logical::Literal(value, _) if !value.is_null()));
    let schema = sql_schema(input);
    if all_rows && shape == Shape::Plain {
        return AggregateCall::new(AggregateFunction::CountStar, Vec::new(), false, filter, &schema);
    }
    let mut args = args.iter().map(|arg| from_datafusion(arg, input)).collect::<crate::base::Result<Vec<_>>>()?;
    if *null_treatment == Some(NullTreatment::IgnoreNulls)
        && let Some(value) = args.first()
    {
        let known = Expr::Is { expr: Box::new(value.clone()), test: Test::Null, negated: true };
        filter = Some(filter.map_or(known.clone(), |filter| Expr::And(vec![filter, known])));
    }
    let order = order_by.iter().map(|sort| {
        let expr = from_datafusion(&sort.expr, input)?;
        Ok(Order { expr, descending: !sort.asc, nulls_first: sort.nulls_first })
    });
    let order = order.collect::<crate::base::Result<Vec<_>>>()?;
    shape.complete(&mut args);
    let distinct = *distinct || shape == Shape::Distinct;
    let call = AggregateCall::new(function, args, distinct, filter, &schema)?.ordered_by(order);
    check_order(name, &call)?;
    Ok(call)
}

/// Refuses calls whose answer would depend on the order in which rows come.
pub(super) fn check_order(name: &str, call: &AggregateCall) -> crate::base::Result<()> {
    let edge = matches!(call.function, AggregateFunction::FirstValue | AggregateFunction::LastValue);
    if edge && call.order.is_empty() {
        return Err(Error::unsupported(format!("{name} without ORDER BY has no answer that the rows decide"))
            .with_hint(format!("Write {name}(value ORDER BY time), or min or max.")));
    }
    if call.distinct
        && !call.function.is_ordered_set()
        && call.order.iter().any(|order| !call.args.contains(&order.expr))
    {
        return Err(Error::invalid("in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list")
            .with_code(sqlstate::INVALID_COLUMN_REFERENCE)
            .with_hint("Order by the argument itself."));
    }
    Ok(())
}

impl Shape {
    /// Adds the arguments that the name stands for.
    fn complete(self, args: &mut Vec<Expr>) {
        if self == Shape::Half {
            args.push(half());
        }
    }
}

fn half() -> Expr {
    Expr::Literal(Literal { ty: SqlType::Double, value: Value::Float(FloatBits::from(0.5)) })
}

/// One of our aggregates, as DataFusion knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Ours {
    entry: &'static Entry,
    aliases: Vec<String>,
    signature: Signature,
    /// Whether its rows come in an order that counts.
    in_order: bool,
}

/// `udaf` as of rows in the order in which they come, if it is one of ours that can tell.
pub(super) fn in_order_of_rows(udaf: &AggregateUDF) -> Option<AggregateUDF> {
    let ours = Ours::of(udaf)?;
    let tells = matches!(ours.entry.function, AggregateFunction::StringAgg | AggregateFunction::ArrayAgg);
    tells.then(|| AggregateUDF::new_from_impl(Ours { in_order: true, ..ours.clone() }))
}

impl Ours {
    fn udaf(entry: &'static Entry) -> AggregateUDF {
        let signature = Signature::user_defined(Volatility::Immutable);
        let aliases = entry.aliases.iter().map(|&alias| alias.to_owned()).collect();
        AggregateUDF::new_from_impl(Ours { entry, aliases, signature, in_order: false })
    }

    /// The aggregate behind `udaf`, if it is one of ours.
    fn of(udaf: &AggregateUDF) -> Option<&Ours> {
        let inner: &dyn std::any::Any = udaf.inner().as_ref();
        inner.downcast_ref::<Ours>()
    }

    /// The type of its result where that is a number of an object, or an array of such: they are told from other numbers while a
    /// read runs.
    fn of_numbers(&self, types: &[DataType]) -> Option<DataType> {
        use AggregateFunction::{ArrayAgg, FirstValue, LastValue, Min, Mode};
        if types.first() != Some(&DataType::UInt32) {
            return None;
        }
        match self.entry.function {
            ArrayAgg => Some(DataType::new_list(DataType::UInt32, true)),
            FirstValue | LastValue | Min | Mode => Some(DataType::UInt32),
            _ => None,
        }
    }

    /// The types of the arguments as the function has them.
    fn types(&self, types: &[DataType]) -> Result<Vec<SqlType>> {
        let mut types = types.iter().map(|ty| self.known(ty)).collect::<Result<Vec<_>>>()?;
        if self.entry.shape == Shape::Half {
            types.push(SqlType::Double);
        }
        Ok(types)
    }

    /// The type of an argument; a bare NULL gets one that the function takes.
    fn known(&self, ty: &DataType) -> Result<SqlType> {
        use AggregateFunction::*;
        if !ty.is_null() {
            return SqlType::from_arrow(ty).map_err(external);
        }
        Ok(match self.entry.function {
            BoolAnd | BoolOr => SqlType::Boolean,
            BitAnd | BitOr | BitXor => SqlType::Int,
            StringAgg | ArrayAgg | FirstValue | LastValue | Mode | Min => SqlType::Varchar,
            _ => SqlType::Double,
        })
    }

    /// The call as plain data: columns are the arguments, then what is ordered by.
    fn call(&self, args: &AccumulatorArgs) -> Result<one_call::Call> {
        let half = (self.entry.shape == Shape::Half).then(half);
        let distinct = args.is_distinct || self.entry.shape == Shape::Distinct;
        let call = one_call::Call::new(self.entry.function, args, distinct, half)?;
        check_order(self.entry.name, &call.call).map_err(external)?;
        Ok(call)
    }
}

fn types_of(args: &AccumulatorArgs) -> Vec<DataType> {
    args.expr_fields.iter().map(|field| field.data_type().clone()).collect()
}

impl AggregateUDFImpl for Ours {
    fn name(&self) -> &str {
        self.entry.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let known = self.types(types)?;
        // What does not fit is told by `return_type`: DataFusion would put its own words around ours here.
        let wanted = self.entry.function.argument_types(&known).unwrap_or(known);
        let mut wanted: Vec<DataType> = wanted.iter().take(types.len()).map(SqlType::arrow).collect();
        if let (Some(numbers), Some(_)) = (wanted.first_mut(), self.of_numbers(types)) {
            *numbers = DataType::UInt32;
        }
        Ok(wanted)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        if let Some(numbers) = self.of_numbers(types) {
            return Ok(numbers);
        }
        let types = self.types(types)?;
        Ok(self.entry.function.result_type(&types).map_err(external)?.arrow())
    }

    fn is_nullable(&self) -> bool {
        !self.entry.function.is_count()
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[accumulator]", args.name), DataType::Binary, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let call = self.call(&args)?;
        let inner: Box<dyn Accumulator> = match is_summed(&call).map_err(external)? {
            true => Box::new(Single::new(&call).map_err(external)?),
            false if self.in_order => Box::new(InOrder::new(&call).map_err(external)?),
            false => Box::new(Collected::new(&call).map_err(external)?),
        };
        Ok(match self.of_numbers(&types_of(&args)) {
            Some(to) => Box::new(Shown { inner, to }),
            None => inner,
        })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.of_numbers(&types_of(&args)).is_none()
            && self.call(&args).is_ok_and(|call| is_summed(&call).unwrap_or(false))
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Grouped::new(&self.call(&args)?).map_err(external)?))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        use AggregateFunction::{ArrayAgg, FirstValue, LastValue, StringAgg};
        // Only so are the expressions of ORDER BY handed to the accumulator; it puts rows in order itself.
        match self.entry.function {
            FirstValue | LastValue | StringAgg | ArrayAgg => AggregateOrderSensitivity::Beneficial,
            _ => AggregateOrderSensitivity::Insensitive,
        }
    }

    fn with_beneficial_ordering(self: Arc<Self>, _: bool) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        Ok(Some(self))
    }

    fn supports_within_group_clause(&self) -> bool {
        self.entry.function.is_ordered_set()
    }

    fn supports_null_handling_clause(&self) -> bool {
        use AggregateFunction::{FirstValue, LastValue};
        matches!(self.entry.function, FirstValue | LastValue)
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        match self.entry.function.is_count() {
            true => Ok(ScalarValue::Int64(Some(0))),
            false => ScalarValue::try_from(data_type),
        }
    }
}
