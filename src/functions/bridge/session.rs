//! The one place where DataFusion's sessions are given our functions, rules and settings.

use std::sync::Arc;

use arrow::error::ArrowError;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionConfig;

use super::aggregate::{aggregate_functions, is_replaced};
use super::independent::IndependentSubqueries;
use super::now::{Clock, Refused, is_clock};
use super::numbering::{is_numbering, numbering};
use super::planner::PostgresOperators;
use super::rule::Checked;
use super::types::PostgresTypes;
use super::udf::{IrUdf, Template};
use crate::base::{Error, ErrorKind, sqlstate};
use crate::functions::expr::BinaryOp;
use crate::functions::{native, refused, udf_call};

/// Settings under which DataFusion reads SQL as PostgreSQL does: decimal literals are numeric, text is Utf8.
pub fn session_config() -> SessionConfig {
    let mut config = SessionConfig::new();
    let options = config.options_mut();
    options.sql_parser.parse_float_as_decimal = true;
    options.sql_parser.map_string_types_to_utf8view = false;
    config
}

/// A builder of session states with DataFusion's features and all of ours. The caller may add its own planners,
/// rules and catalogs; `with_config` should start from [`session_config`].
pub fn session_state_builder() -> SessionStateBuilder {
    let mut builder = SessionStateBuilder::new().with_config(session_config()).with_default_features();
    if let Some(planners) = builder.expr_planners() {
        planners.insert(0, Arc::new(PostgresOperators));
    }
    if let Some(functions) = builder.scalar_functions() {
        functions.retain(|udf| refused::why(udf.name()).is_none() && !is_clock(udf.name()));
        functions.extend(scalar_functions());
    }
    if let Some(functions) = builder.aggregate_functions() {
        functions.retain(|udaf| !is_replaced(udaf.name()));
        functions.extend(aggregate_functions());
    }
    if let Some(functions) = builder.window_functions() {
        for udf in functions.iter_mut().filter(|udf| is_numbering(udf)) {
            *udf = numbering(Arc::clone(udf));
        }
    }
    builder
        .with_type_planner(Arc::new(PostgresTypes))
        .with_analyzer_rule(Arc::new(Checked))
        .with_optimizer_rule(Arc::new(IndependentSubqueries))
}

fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let native = native::names().map(|name| IrUdf::new(name, Template::Native(name.to_owned())).into_udf());
    let modulo = IrUdf::new("mod", Template::Operator(BinaryOp::Modulo)).into_udf();
    let refused = refused::OTHER_PATTERNS.iter().map(|&name| Arc::new(ScalarUDF::new_from_impl(Refused::new(name))));
    native.chain([modulo]).chain(clock(None)).chain(refused).collect()
}

fn clock(reading_us: Option<i64>) -> impl Iterator<Item = Arc<ScalarUDF>> {
    Clock::all(reading_us).into_iter().map(|clock| Arc::new(ScalarUDF::new_from_impl(clock)))
}

/// Registers our functions and aggregates with any registry (those of DataFusion that we refuse are removed).
/// Planners and the `checked` rule come only with [`session_state_builder`].
pub fn register_all(registry: &mut dyn FunctionRegistry) -> DataFusionResult<()> {
    for name in udf_call::refused_names() {
        registry.deregister_udf(name)?;
    }
    for udf in scalar_functions() {
        registry.register_udf(udf)?;
    }
    for udaf in aggregate_functions() {
        registry.register_udaf(udaf)?;
    }
    Ok(())
}

/// Gives `now()`, `current_date` and their kin the reading `clock_us` (microseconds since 1970) for this statement.
pub fn register_clock(registry: &mut dyn FunctionRegistry, clock_us: i64) -> DataFusionResult<()> {
    for udf in clock(Some(clock_us)) {
        registry.register_udf(udf)?;
    }
    Ok(())
}

/// Our error inside an error of DataFusion; errors of DataFusion's own become the kind that fits them.
pub fn error_from_datafusion(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => from_boxed(inner),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => error_from_datafusion(*inner),
        DataFusionError::Collection(errors) => match errors.into_iter().next() {
            Some(first) => error_from_datafusion(first),
            None => Error::internal("an empty list of errors"),
        },
        DataFusionError::ArrowError(inner, _) => match *inner {
            ArrowError::ExternalError(inner) => from_boxed(inner),
            ArrowError::DivideByZero => Error::fault("division by zero").with_code(sqlstate::DIVISION_BY_ZERO),
            ArrowError::ArithmeticOverflow(_) => {
                Error::fault("value out of range").with_code(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE)
            }
            other => Error::fault(other.to_string()).caused_by(other),
        },
        DataFusionError::Shared(shared) => match Arc::try_unwrap(shared) {
            Ok(inner) => error_from_datafusion(inner),
            Err(shared) => from_shared(&shared),
        },
        other => of_kind(&other),
    }
}

fn from_boxed(inner: Box<dyn std::error::Error + Send + Sync>) -> Error {
    match inner.downcast::<Error>() {
        Ok(ours) => *ours,
        Err(inner) => match inner.downcast::<DataFusionError>() {
            Ok(error) => error_from_datafusion(*error),
            Err(other) => Error::internal(other.to_string()).caused_by(other),
        },
    }
}

/// A copy of our error behind a shared one.
fn from_shared(shared: &DataFusionError) -> Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(shared);
    while let Some(error) = source {
        if let Some(ours) = error.downcast_ref::<Error>() {
            let mut copy = Error::new(ours.kind(), ours.message()).with_code(ours.sqlstate());
            if let Some(detail) = ours.detail() {
                copy = copy.with_detail(detail);
            }
            return match ours.hint() {
                Some(hint) => copy.with_hint(hint),
                None => copy,
            };
        }
        source = error.source();
    }
    of_kind(shared)
}

fn of_kind(error: &DataFusionError) -> Error {
    let message = udf_call::plain_message(error);
    let with = |kind: ErrorKind, code| Error::new(kind, message.clone()).with_code(code);
    match error.find_root() {
        DataFusionError::SQL(..) => with(ErrorKind::Invalid, sqlstate::SYNTAX_ERROR),
        DataFusionError::NotImplemented(_) => with(ErrorKind::Invalid, sqlstate::FEATURE_NOT_SUPPORTED),
        DataFusionError::Plan(_) => with(ErrorKind::Invalid, sqlstate::SYNTAX_ERROR),
        DataFusionError::SchemaError(..) => with(ErrorKind::Invalid, sqlstate::UNDEFINED_COLUMN),
        DataFusionError::Configuration(_) => with(ErrorKind::Invalid, sqlstate::INVALID_PARAMETER_VALUE),
        DataFusionError::ResourcesExhausted(_) => with(ErrorKind::Limit, sqlstate::INSUFFICIENT_RESOURCES),
        DataFusionError::Execution(_) => with(ErrorKind::Fault, sqlstate::DATA_EXCEPTION),
        _ => with(ErrorKind::Internal, sqlstate::INTERNAL_ERROR),
    }
}
