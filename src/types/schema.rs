//! Schemas: named, typed columns, and how each SQL type lies in Arrow.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

use super::numeric::Shows;
use crate::base::{Error, Result, sqlstate};

/// A SQL type. Each lies in Arrow as exactly one [`DataType`]; the wire, the state and the disk know no others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SqlType {
    /// BOOLEAN.
    Boolean,
    /// SMALLINT, 16 bits.
    SmallInt,
    /// INT, 32 bits.
    Int,
    /// BIGINT, 64 bits.
    BigInt,
    /// REAL, 32-bit float.
    Real,
    /// DOUBLE PRECISION, 64-bit float.
    Double,
    /// NUMERIC(precision, scale) as Decimal128: at most 38 digits.
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits behind the point.
        scale: i8,
    },
    /// VARCHAR and TEXT: UTF-8.
    Varchar,
    /// BYTEA.
    Bytea,
    /// DATE: days since 1970.
    Date,
    /// TIME without zone: microseconds since midnight.
    Time,
    /// TIMESTAMP without zone: microseconds since 1970.
    Timestamp,
    /// TIMESTAMP WITH TIME ZONE: microseconds since 1970 in UTC.
    TimestampTz,
    /// INTERVAL: months, days, nanoseconds.
    Interval,
    /// UUID: 16 bytes.
    Uuid,
    /// JSONB, in the canonical bytes of [`crate::types::jsonb`].
    Jsonb,
    /// `T[]`: an array of one dimension; elements may be NULL.
    Array(Box<SqlType>),
    /// A row (struct) of named fields, each of which may be NULL.
    Row(Vec<(String, SqlType)>),
}

/// Bytes of a UUID.
const UUID_BYTES: i32 = 16;

/// The Arrow field of an array's elements.
pub(crate) fn element_field(element: &SqlType) -> FieldRef {
    Arc::new(Field::new_list_field(element.arrow(), true))
}

/// The Arrow fields of a row.
pub(crate) fn row_fields(fields: &[(String, SqlType)]) -> Fields {
    fields.iter().map(|(name, ty)| Field::new(name, ty.arrow(), true)).collect()
}

impl SqlType {
    /// NUMERIC without precision: the widest Decimal128 that keeps ten digits behind the point.
    pub const NUMERIC: SqlType = SqlType::Decimal { precision: 38, scale: 10 };

    /// The Arrow type that holds it.
    pub fn arrow(&self) -> DataType {
        match self {
            SqlType::Boolean => DataType::Boolean,
            SqlType::SmallInt => DataType::Int16,
            SqlType::Int => DataType::Int32,
            SqlType::BigInt => DataType::Int64,
            SqlType::Real => DataType::Float32,
            SqlType::Double => DataType::Float64,
            SqlType::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale),
            SqlType::Varchar => DataType::Utf8,
            SqlType::Bytea => DataType::Binary,
            SqlType::Date => DataType::Date32,
            SqlType::Time => DataType::Time64(TimeUnit::Microsecond),
            SqlType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            SqlType::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            SqlType::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            SqlType::Uuid => DataType::FixedSizeBinary(UUID_BYTES),
            SqlType::Jsonb => DataType::LargeBinary,
            SqlType::Array(element) => DataType::List(element_field(element)),
            SqlType::Row(fields) => DataType::Struct(row_fields(fields)),
        }
    }

    /// The SQL type that an Arrow type stands for: exact for those of [`SqlType::arrow`], the nearest one that holds
    /// every value for others (unsigned, views, large and dictionary encodings, other time units).
    pub fn from_arrow(arrow: &DataType) -> Result<SqlType> {
        Ok(match arrow {
            DataType::Boolean => SqlType::Boolean,
            DataType::Int8 | DataType::UInt8 | DataType::Int16 => SqlType::SmallInt,
            DataType::UInt16 | DataType::Int32 => SqlType::Int,
            DataType::UInt32 | DataType::Int64 => SqlType::BigInt,
            DataType::UInt64 => SqlType::Decimal { precision: 20, scale: 0 },
            DataType::Float16 | DataType::Float32 => SqlType::Real,
            DataType::Float64 => SqlType::Double,
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale) => SqlType::Decimal { precision: *precision, scale: *scale },
            DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => SqlType::Varchar,
            DataType::FixedSizeBinary(UUID_BYTES) => SqlType::Uuid,
            DataType::LargeBinary => SqlType::Jsonb,
            DataType::Binary | DataType::BinaryView | DataType::FixedSizeBinary(_) => SqlType::Bytea,
            DataType::List(element)
            | DataType::LargeList(element)
            | DataType::ListView(element)
            | DataType::LargeListView(element)
            | DataType::FixedSizeList(element, _) => match SqlType::from_arrow(element.data_type())? {
                SqlType::Array(_) => {
                    return Err(Error::unsupported("an array of arrays is not supported")
                        .with_hint("Put the inner arrays into JSONB, or give each a row of its own."));
                }
                element => SqlType::Array(Box::new(element)),
            },
            DataType::Struct(fields) => {
                let field = |field: &FieldRef| Ok((field.name().clone(), SqlType::from_arrow(field.data_type())?));
                SqlType::Row(fields.iter().map(field).collect::<Result<_>>()?)
            }
            DataType::Date32 | DataType::Date64 => SqlType::Date,
            DataType::Time32(_) | DataType::Time64(_) => SqlType::Time,
            DataType::Timestamp(_, None) => SqlType::Timestamp,
            DataType::Timestamp(_, Some(_)) => SqlType::TimestampTz,
            DataType::Interval(_) | DataType::Duration(_) => SqlType::Interval,
            DataType::Dictionary(_, values) => SqlType::from_arrow(values)?,
            other => {
                return Err(Error::unsupported(format!("type {other} has no SQL type here"))
                    .with_code(sqlstate::FEATURE_NOT_SUPPORTED)
                    .with_hint("Cast the value to one of the types of dialect.md, for instance VARCHAR."));
            }
        })
    }

    /// Whether values are numbers.
    pub fn is_numeric(&self) -> bool {
        matches!(
            self,
            SqlType::SmallInt
                | SqlType::Int
                | SqlType::BigInt
                | SqlType::Real
                | SqlType::Double
                | SqlType::Decimal { .. }
        )
    }

    /// Whether values hold other values: arrays and rows.
    pub fn is_nested(&self) -> bool {
        matches!(self, SqlType::Array(_) | SqlType::Row(_))
    }

    /// Whether values are points of event time (what a watermark can be declared for).
    pub fn is_timestamp(&self) -> bool {
        matches!(self, SqlType::Timestamp | SqlType::TimestampTz)
    }
}

impl fmt::Display for SqlType {
    /// PostgreSQL's name, as `format_type` prints it; rows as `struct<a integer, ...>`, as they are declared.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SqlType::Boolean => "boolean",
            SqlType::SmallInt => "smallint",
            SqlType::Int => "integer",
            SqlType::BigInt => "bigint",
            SqlType::Real => "real",
            SqlType::Double => "double precision",
            SqlType::Decimal { precision, scale } if Shows::of(*precision, *scale) == Shows::Scale => {
                return write!(f, "numeric({precision},{scale})");
            }
            SqlType::Decimal { .. } => "numeric",
            SqlType::Varchar => "character varying",
            SqlType::Bytea => "bytea",
            SqlType::Date => "date",
            SqlType::Time => "time without time zone",
            SqlType::Timestamp => "timestamp without time zone",
            SqlType::TimestampTz => "timestamp with time zone",
            SqlType::Interval => "interval",
            SqlType::Uuid => "uuid",
            SqlType::Jsonb => "jsonb",
            SqlType::Array(element) => return write!(f, "{element}[]"),
            SqlType::Row(fields) => {
                f.write_str("struct<")?;
                for (i, (name, ty)) in fields.iter().enumerate() {
                    write!(f, "{}{name} {ty}", if i > 0 { ", " } else { "" })?;
                }
                return f.write_str(">");
            }
        })
    }
}

/// A column of a relation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Column {
    /// Its name, as SQL sees it (already folded to lower case unless it was quoted).
    pub name: String,
    /// Its type.
    pub ty: SqlType,
    /// Whether NULL may stand in it.
    pub nullable: bool,
}

impl Column {
    /// A nullable column.
    pub fn new(name: impl Into<String>, ty: SqlType) -> Self {
        Column { name: name.into(), ty, nullable: true }
    }
}

/// The columns of a relation, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Schema {
    /// In the order in which rows carry them.
    pub columns: Vec<Column>,
    /// What clients are told of columns that are more to PostgreSQL than their [`SqlType`].
    #[serde(skip)]
    pub told: Told,
}

/// PostgreSQL's numbers of types, by the place of the column or parameter: of those whose [`SqlType`] says less (`oid` is kept
/// as bigint). Only what a client asks for has any.
pub type Told = BTreeMap<usize, u32>;

impl Schema {
    /// A schema of `columns`.
    pub fn new(columns: Vec<Column>) -> Self {
        Schema { columns, told: Told::new() }
    }

    /// The Arrow schema: a field per column.
    pub fn arrow(&self) -> SchemaRef {
        Arc::new(arrow::datatypes::Schema::new(
            self.columns.iter().map(|c| Field::new(&c.name, c.ty.arrow(), c.nullable)).collect::<Vec<_>>(),
        ))
    }

    /// The schema that an Arrow schema stands for (see [`SqlType::from_arrow`]).
    pub fn from_arrow(schema: &arrow::datatypes::Schema) -> Result<Schema> {
        let columns = schema.fields().iter().map(|field| {
            Ok(Column {
                name: field.name().clone(),
                ty: SqlType::from_arrow(field.data_type())?,
                nullable: field.is_nullable(),
            })
        });
        Ok(Schema::new(columns.collect::<Result<_>>()?))
    }

    /// The place of the column called `name`.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The types, in order.
    pub fn types(&self) -> Vec<SqlType> {
        self.columns.iter().map(|column| column.ty.clone()).collect()
    }

    /// The columns at `indices`, in that order. An index outside the schema is skipped.
    pub fn project(&self, indices: &[usize]) -> Schema {
        Schema::new(indices.iter().filter_map(|&i| self.columns.get(i).cloned()).collect())
    }
}
