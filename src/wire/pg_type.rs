//! SQL types as PostgreSQL's catalog numbers them.

use pgwire::api::Type;
use pgwire::messages::data::FieldDescription;

use crate::base::{Error, Result, sqlstate};
use crate::types::numeric::Shows;
use crate::types::{Schema, SqlType, Told};

/// The catalog's number, bytes of a value (-1: varies) and modifier (-1: none) of a type.
struct PgType {
    oid: u32,
    bytes: i16,
    modifier: i32,
}

fn pg_type(ty: &SqlType) -> PgType {
    let (known, bytes) = match ty {
        SqlType::Boolean => (Type::BOOL, 1),
        SqlType::SmallInt => (Type::INT2, 2),
        SqlType::Int => (Type::INT4, 4),
        SqlType::BigInt => (Type::INT8, 8),
        SqlType::Real => (Type::FLOAT4, 4),
        SqlType::Double => (Type::FLOAT8, 8),
        SqlType::Decimal { .. } => (Type::NUMERIC, -1),
        SqlType::Varchar => (Type::VARCHAR, -1),
        SqlType::Bytea => (Type::BYTEA, -1),
        SqlType::Date => (Type::DATE, 4),
        SqlType::Time => (Type::TIME, 8),
        SqlType::Timestamp => (Type::TIMESTAMP, 8),
        SqlType::TimestampTz => (Type::TIMESTAMPTZ, 8),
        SqlType::Interval => (Type::INTERVAL, 16),
        SqlType::Uuid => (Type::UUID, 16),
        SqlType::Jsonb => (Type::JSONB, -1),
        SqlType::Row(_) => (Type::RECORD, -1),
        SqlType::Array(element) => (array_of(element), -1),
    };
    let mut modifier = -1;
    if let SqlType::Decimal { precision, scale } = ty
        && Shows::of(*precision, *scale) == Shows::Scale
        && *scale >= 0
    {
        modifier = ((i32::from(*precision) << 16) | i32::from(*scale)) + 4;
    }
    PgType { oid: known.oid(), bytes, modifier }
}

/// Types whose values are kept as those of another type: bigint, arrays, text.
pub mod told {
    /// The number of an object.
    pub const OID: u32 = 26;
    /// An array of them.
    pub const OIDS: u32 = 1028;
    /// A list of them without dimensions.
    pub const OID_VECTOR: u32 = 30;
    /// A list of smallint without dimensions.
    pub const INT2_VECTOR: u32 = 22;
    /// One byte of text.
    pub const CHAR: u32 = 18;
    /// A name of 63 bytes at most.
    pub const NAME: u32 = 19;
}

fn told_type(oid: u32) -> PgType {
    let bytes = match oid {
        told::OID => 4,
        told::CHAR => 1,
        told::NAME => 64,
        _ => -1,
    };
    PgType { oid, bytes, modifier: -1 }
}

/// Of the types that a client declared, those that are told from the types that they are kept as.
pub fn declared(oids: &[u32]) -> Told {
    let told = oids.iter().copied().enumerate();
    told.filter(|(_, oid)| matches!(*oid, told::OID | told::OIDS)).collect()
}

/// The types that parameters may be arrays of.
const ELEMENTS: [SqlType; 16] = [
    SqlType::Boolean,
    SqlType::SmallInt,
    SqlType::Int,
    SqlType::BigInt,
    SqlType::Real,
    SqlType::Double,
    SqlType::NUMERIC,
    SqlType::Varchar,
    SqlType::Bytea,
    SqlType::Date,
    SqlType::Time,
    SqlType::Timestamp,
    SqlType::TimestampTz,
    SqlType::Interval,
    SqlType::Uuid,
    SqlType::Jsonb,
];

/// The type of arrays of `element`.
fn array_of(element: &SqlType) -> Type {
    match element {
        SqlType::Boolean => Type::BOOL_ARRAY,
        SqlType::SmallInt => Type::INT2_ARRAY,
        SqlType::Int => Type::INT4_ARRAY,
        SqlType::BigInt => Type::INT8_ARRAY,
        SqlType::Real => Type::FLOAT4_ARRAY,
        SqlType::Double => Type::FLOAT8_ARRAY,
        SqlType::Decimal { .. } => Type::NUMERIC_ARRAY,
        // Which every driver knows by itself.
        SqlType::Varchar => Type::TEXT_ARRAY,
        SqlType::Bytea => Type::BYTEA_ARRAY,
        SqlType::Date => Type::DATE_ARRAY,
        SqlType::Time => Type::TIME_ARRAY,
        SqlType::Timestamp => Type::TIMESTAMP_ARRAY,
        SqlType::TimestampTz => Type::TIMESTAMPTZ_ARRAY,
        SqlType::Interval => Type::INTERVAL_ARRAY,
        SqlType::Uuid => Type::UUID_ARRAY,
        SqlType::Jsonb => Type::JSONB_ARRAY,
        // Arrays of arrays are refused.
        SqlType::Row(_) | SqlType::Array(_) => Type::RECORD_ARRAY,
    }
}

/// The number of `ty` in PostgreSQL's catalog.
pub fn oid(ty: &SqlType) -> u32 {
    pg_type(ty).oid
}

/// The type of a parameter that a client declared with `oid`; none for 0 and `unknown`, which are to be inferred.
pub fn from_oid(oid: u32) -> Result<Option<SqlType>> {
    let Some(known) = Type::from_oid(oid) else {
        return if oid == 0 { Ok(None) } else { Err(unknown_type(&oid.to_string())) };
    };
    Ok(Some(match known {
        Type::UNKNOWN => return Ok(None),
        Type::BOOL => SqlType::Boolean,
        Type::INT2 => SqlType::SmallInt,
        Type::INT4 => SqlType::Int,
        Type::INT8 | Type::OID => SqlType::BigInt,
        Type::OID_ARRAY => SqlType::Array(Box::new(SqlType::BigInt)),
        Type::FLOAT4 => SqlType::Real,
        Type::FLOAT8 => SqlType::Double,
        Type::NUMERIC => SqlType::NUMERIC,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::CHAR => SqlType::Varchar,
        Type::BYTEA => SqlType::Bytea,
        Type::DATE => SqlType::Date,
        Type::TIME => SqlType::Time,
        Type::TIMESTAMP => SqlType::Timestamp,
        Type::TIMESTAMPTZ => SqlType::TimestampTz,
        Type::INTERVAL => SqlType::Interval,
        Type::UUID => SqlType::Uuid,
        Type::JSON | Type::JSONB => SqlType::Jsonb,
        other => match ELEMENTS.iter().find(|element| array_of(element) == other) {
            Some(element) => SqlType::Array(Box::new(element.clone())),
            None if other == Type::VARCHAR_ARRAY => SqlType::Array(Box::new(SqlType::Varchar)),
            None => return Err(unknown_type(other.name())),
        },
    }))
}

fn unknown_type(name: &str) -> Error {
    Error::invalid(format!("type \"{name}\" of a parameter does not exist here"))
        .with_code(sqlstate::UNDEFINED_OBJECT)
        .with_hint("Send the parameter as text and cast it in the statement: $1::type.")
}

/// The description of a row of `schema`; `binary` says of each column by its place whether it is sent in binary.
pub fn fields(schema: &Schema, binary: impl Fn(usize) -> bool) -> Vec<FieldDescription> {
    let field = |(index, column): (usize, &crate::types::Column)| {
        let known = match schema.told.get(&index) {
            Some(&told) => told_type(told),
            None => pg_type(&column.ty),
        };
        FieldDescription::new(
            // A NUL would end the name for the client, and shift everything behind it.
            column.name.replace('\0', ""),
            0,
            0,
            known.oid,
            known.bytes,
            known.modifier,
            i16::from(binary(index)),
        )
    };
    schema.columns.iter().enumerate().map(field).collect()
}
