//! Functions that stand in for DataFusion's: `now()` and its kin, which read the clock of the statement in
//! microseconds, and those that only say why they are refused.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::udf::external;
use crate::base::Error;
use crate::functions::calendar::DAY_US;
use crate::functions::refused;
use crate::types::SqlType;

/// Names that read the clock.
const NAMES: &[&str] =
    &["now", "current_timestamp", "transaction_timestamp", "statement_timestamp", "mz_now", "localtimestamp"];

/// The function that gives the time at which a row came; of a statement, its clock.
pub const PROCTIME: &str = "proctime";

/// The function of that name.
pub fn proctime_udf() -> ScalarUDF {
    ScalarUDF::new_from_impl(Clock {
        name: PROCTIME,
        aliases: Vec::new(),
        ty: SqlType::TimestampTz,
        reading_us: None,
        signature: Signature::nullary(Volatility::Stable),
    })
}

/// Whether the function `name` reads the clock.
pub fn is_clock(name: &str) -> bool {
    NAMES.contains(&name) || matches!(name, PROCTIME | "current_date" | "today" | "current_time" | "clock_timestamp")
}

/// A reading of the clock of the statement. Without one given it is when the statement was planned.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Clock {
    name: &'static str,
    aliases: Vec<String>,
    ty: SqlType,
    reading_us: Option<i64>,
    signature: Signature,
}

impl Clock {
    /// All functions of the clock, with a reading in microseconds since 1970.
    pub fn all(reading_us: Option<i64>) -> [Clock; 5] {
        let clock = |name, aliases: &[&str], ty| Clock {
            name,
            aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
            ty,
            reading_us,
            signature: Signature::nullary(Volatility::Stable),
        };
        [
            clock("now", &NAMES[1..5], SqlType::TimestampTz),
            clock("localtimestamp", &[], SqlType::Timestamp),
            clock("current_date", &["today"], SqlType::Date),
            clock("current_time", &[], SqlType::Time),
            clock(PROCTIME, &[], SqlType::TimestampTz),
        ]
    }

    fn value(&self, us: i64) -> ScalarValue {
        match self.ty {
            SqlType::Date => ScalarValue::Date32(Some(us.div_euclid(DAY_US) as i32)),
            SqlType::Time => ScalarValue::Time64Microsecond(Some(us.rem_euclid(DAY_US))),
            SqlType::Timestamp => ScalarValue::TimestampMicrosecond(Some(us), None),
            _ => ScalarValue::TimestampMicrosecond(Some(us), Some("UTC".into())),
        }
    }
}

/// `plan` with `now()`, `current_date` and their kin as constants: what they are at the clock reading `clock_us`.
pub fn at_clock(plan: LogicalPlan, clock_us: i64) -> Result<LogicalPlan> {
    let fixed = plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let fixed = expr.transform_up(|expr| {
                let Expr::ScalarFunction(call) = &expr else { return Ok(Transformed::no(expr)) };
                let inner: &dyn std::any::Any = call.func.inner().as_ref();
                let Some(clock) = inner.downcast_ref::<Clock>() else { return Ok(Transformed::no(expr)) };
                Ok(Transformed::yes(Expr::Literal(clock.value(clock_us), None)))
            })?;
            Ok(fixed.update_data(|expr| name.restore(expr)))
        })
    })?;
    Ok(fixed.data)
}

/// A function that says why it is refused.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Refused {
    name: &'static str,
    signature: Signature,
}

impl Refused {
    /// The function `name`, refused.
    pub fn new(name: &'static str) -> Refused {
        Refused { name, signature: Signature::variadic_any(Volatility::Immutable) }
    }

    fn why<T>(&self) -> Result<T> {
        let missing = || Error::internal(format!("function {} is not refused", self.name));
        Err(external(refused::why(self.name).unwrap_or_else(missing)))
    }
}

impl ScalarUDFImpl for Refused {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        self.why()
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.why()
    }
}

impl ScalarUDFImpl for Clock {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(self.ty.arrow())
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let start = || info.query_execution_start_time().map(|at| at.timestamp_micros());
        Ok(match self.reading_us.or_else(start) {
            Some(us) => ExprSimplifyResult::Simplified(Expr::Literal(self.value(us), None)),
            None => ExprSimplifyResult::Original(args),
        })
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match self.reading_us {
            Some(us) => Ok(ColumnarValue::Scalar(self.value(us))),
            None => datafusion::common::exec_err!("{} has no clock reading in this statement", self.name),
        }
    }
}
