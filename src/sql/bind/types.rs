//! SQL's names of types.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType as Arrow, Field, FieldRef};
use datafusion::common::Result as PlanResult;
use datafusion::logical_expr::planner::TypePlanner;
use sqlparser::ast::{self, ArrayElemTypeDef, DataType, ExactNumberInfo, TimezoneInfo};

use super::errors::carry;
use crate::base::{Error, Result, sqlstate};
use crate::catalog::postgres::as_type;
use crate::sql::postgres;
use crate::types::SqlType;

/// The type that `ty` names; `position` is where it is used.
pub(in crate::sql) fn sql_type(ty: &DataType) -> Result<SqlType> {
    let refused =
        |what: &str, rewrite: &str| Err(Error::unsupported(format!("type {what} is not supported")).with_hint(rewrite));
    Ok(match ty {
        DataType::Bool | DataType::Boolean => SqlType::Boolean,
        DataType::SmallInt(None) | DataType::Int2(None) => SqlType::SmallInt,
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => SqlType::Int,
        DataType::BigInt(None) | DataType::Int8(None) => SqlType::BigInt,
        DataType::Real | DataType::Float4 => SqlType::Real,
        DataType::DoublePrecision | DataType::Float8 | DataType::Float64 => SqlType::Double,
        DataType::Double(ExactNumberInfo::None) => SqlType::Double,
        DataType::Float(info) => match info {
            ExactNumberInfo::Precision(1..=24) => SqlType::Real,
            ExactNumberInfo::None | ExactNumberInfo::Precision(25..=53) => SqlType::Double,
            _ => return refused(&ty.to_string(), "Write REAL or DOUBLE PRECISION."),
        },
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => decimal(info)?,
        DataType::Varchar(None) | DataType::CharacterVarying(None) | DataType::Text | DataType::String(None) => {
            SqlType::Varchar
        }
        DataType::Varchar(Some(_)) | DataType::CharacterVarying(Some(_)) | DataType::CharVarying(_) => {
            return refused(
                &ty.to_string(),
                "Write VARCHAR: lengths are for columns of tables without a connector, and for casts.",
            );
        }
        DataType::Char(_) | DataType::Character(_) => return refused(&ty.to_string(), "Write VARCHAR."),
        DataType::Bytea => SqlType::Bytea,
        DataType::Date => SqlType::Date,
        DataType::Time(None | Some(6), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => SqlType::Time,
        DataType::Timestamp(precision, zone) => {
            if precision.is_some_and(|digits| digits > 6) {
                return refused(&ty.to_string(), "Write TIMESTAMP, which keeps microseconds.");
            }
            match zone {
                TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => SqlType::Timestamp,
                TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => SqlType::TimestampTz,
            }
        }
        DataType::Interval { precision: None, .. } => SqlType::Interval,
        DataType::JSON | DataType::JSONB => SqlType::Jsonb,
        DataType::Uuid => SqlType::Uuid,
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, None) | ArrayElemTypeDef::AngleBracket(element)) => {
            match sql_type(element)? {
                SqlType::Array(_) => {
                    return refused(&ty.to_string(), "Put the inner arrays into JSONB, or give each a row of its own.");
                }
                element => SqlType::Array(Box::new(element)),
            }
        }
        DataType::Array(_) => return refused(&ty.to_string(), "Write the type of its elements and []: BIGINT[]."),
        DataType::Struct(fields, _) => {
            let field = |(i, field): (usize, &ast::StructField)| {
                let name = field.field_name.as_ref().map_or_else(|| format!("f{}", i + 1), super::super::parse::fold);
                Ok((name, sql_type(&field.field_type)?))
            };
            SqlType::Row(fields.iter().enumerate().map(field).collect::<Result<_>>()?)
        }
        DataType::TinyInt(_) => return refused("TINYINT", "Write SMALLINT."),
        DataType::Custom(name, _) => return Err(unknown(name)),
        other => return refused(&other.to_string(), "Write BIGINT, NUMERIC, DOUBLE PRECISION, VARCHAR or TIMESTAMP."),
    })
}

fn unknown(name: &ast::ObjectName) -> Error {
    let shown = name.to_string().to_lowercase();
    let known = [
        "bigint",
        "int",
        "integer",
        "smallint",
        "double precision",
        "real",
        "numeric",
        "decimal",
        "varchar",
        "text",
        "boolean",
        "date",
        "time",
        "timestamp",
        "timestamptz",
        "interval",
        "bytea",
        "uuid",
        "jsonb",
    ];
    let error = Error::invalid(format!("type \"{shown}\" does not exist")).with_code(sqlstate::UNDEFINED_OBJECT);
    let hint = match shown.as_str() {
        "datetime" => "Write TIMESTAMP.".to_string(),
        "long" | "uint64" | "int64" => "Write BIGINT.".to_string(),
        _ => crate::base::did_you_mean(&shown, known)
            .unwrap_or_else(|| "Write BIGINT, NUMERIC, DOUBLE PRECISION, VARCHAR or TIMESTAMP.".to_string()),
    };
    let position = name.0.first().and_then(|part| part.as_ident()).map_or(0, |ident| ident.span.start.column as usize);
    let error = error.with_hint(hint);
    if position > 0 { error.at(position) } else { error }
}

fn decimal(info: &ExactNumberInfo) -> Result<SqlType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Ok(SqlType::NUMERIC),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    if !(1..=38).contains(&precision) || scale < 0 || scale > precision as i64 {
        return Err(Error::invalid(format!("numeric({precision},{scale}) is out of range"))
            .with_code(sqlstate::INVALID_PARAMETER_VALUE)
            .with_hint("At most 38 digits fit, none to all of them behind the point."));
    }
    // Both fit: checked above.
    Ok(SqlType::Decimal { precision: precision as u8, scale: scale as i8 })
}

/// Gives DataFusion our reading of type names in casts and typed literals.
#[derive(Debug)]
pub(super) struct Types {
    /// Whether numbers of objects are told from other numbers: in what is read.
    pub oids: bool,
}

impl TypePlanner for Types {
    fn plan_type_field(&self, ty: &DataType) -> PlanResult<Option<FieldRef>> {
        if matches!(ty, DataType::Array(_)) {
            return Ok(None); // Arrays of our types may appear inside a read.
        }
        if *ty == postgres::oid_type() {
            return Ok(Some(Arc::new(match self.oids {
                true => as_type(Field::new("", Arrow::UInt32, true), "oid"),
                false => Field::new("", Arrow::Int64, true),
            })));
        }
        let ty = sql_type(ty).map_err(carry)?;
        Ok(Some(Arc::new(Field::new("", ty.arrow(), true))))
    }
}
