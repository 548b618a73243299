//! SQL type names to the Arrow types of `types/schema.rs`.

use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{ArrayElemTypeDef, DataType as Ast, ExactNumberInfo, TimezoneInfo};

use super::udf::external;
use crate::base::{Error, sqlstate};
use crate::types::SqlType;

/// Names of types as PostgreSQL has them; others are left to DataFusion.
#[derive(Debug)]
pub(crate) struct PostgresTypes;

fn numeric(digits: &ExactNumberInfo) -> Result<SqlType> {
    let invalid = |message: String| {
        external(
            Error::invalid(message)
                .with_code(sqlstate::INVALID_PARAMETER_VALUE)
                .with_hint("A numeric has 1 to 38 digits here, at most all of them behind the point."),
        )
    };
    let (precision, scale) = match digits {
        ExactNumberInfo::None => return Ok(SqlType::NUMERIC),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision @ 1..=38), Ok(scale @ 0..)) if scale as u8 <= precision => {
            Ok(SqlType::Decimal { precision, scale })
        }
        _ => Err(invalid(format!("NUMERIC precision {precision} with scale {scale} is not between 1 and 38"))),
    }
}

/// The SQL type that a type name stands for; `None` for names of other kinds of types.
pub(crate) fn sql_type(name: &Ast) -> Result<Option<SqlType>> {
    Ok(Some(match name {
        Ast::Boolean | Ast::Bool => SqlType::Boolean,
        Ast::SmallInt(_) | Ast::Int2(_) => SqlType::SmallInt,
        Ast::Int(_) | Ast::Integer(_) | Ast::Int4(_) => SqlType::Int,
        Ast::BigInt(_) | Ast::Int8(_) => SqlType::BigInt,
        Ast::Real | Ast::Float4 => SqlType::Real,
        Ast::Double(_) | Ast::DoublePrecision | Ast::Float8 => SqlType::Double,
        Ast::Float(ExactNumberInfo::Precision(bits)) if *bits <= 24 => SqlType::Real,
        Ast::Float(_) => SqlType::Double,
        Ast::Numeric(digits) | Ast::Decimal(digits) | Ast::Dec(digits) => numeric(digits)?,
        Ast::Varchar(_) | Ast::CharacterVarying(_) | Ast::CharVarying(_) | Ast::Text | Ast::String(_) => {
            SqlType::Varchar
        }
        Ast::Bytea => SqlType::Bytea,
        Ast::Date => SqlType::Date,
        Ast::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => SqlType::Time,
        Ast::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => SqlType::Timestamp,
        Ast::Timestamp(_, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => SqlType::TimestampTz,
        Ast::Interval { .. } => SqlType::Interval,
        Ast::Uuid => SqlType::Uuid,
        Ast::JSON | Ast::JSONB => SqlType::Jsonb,
        Ast::Array(ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element)) => {
            match sql_type(element)? {
                Some(SqlType::Array(_)) | None => return Ok(None),
                Some(element) => SqlType::Array(Box::new(element)),
            }
        }
        _ => return Ok(None),
    }))
}

impl TypePlanner for PostgresTypes {
    fn plan_type(&self, name: &Ast) -> Result<Option<DataType>> {
        Ok(sql_type(name)?.map(|ty| ty.arrow()))
    }
}
