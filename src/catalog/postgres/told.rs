//! What clients are told of values that our SQL types do not tell from others. While a read is planned and run, an object's number
//! lies as Arrow's `UInt32` and a field may name its PostgreSQL type; both pass through joins, sub-queries and views. At the read's
//! end they become the numbers of types in [`Schema::told`](crate::types::Schema), and the values those of our SQL types.

use arrow::datatypes::{DataType, Field, Schema};

use super::types::pg_type_named;
use crate::types::{SqlType, Told};

/// The key under which a field names the type that PostgreSQL has for it.
const TYPE: &str = "postgres_type";

/// How values of PostgreSQL's type `name`, which are kept as `ty`, lie while a read runs.
fn lies_while_read(name: &str, ty: &SqlType) -> DataType {
    match name {
        "oid" => DataType::UInt32,
        _ if name.starts_with("reg") => DataType::UInt32,
        "_oid" | "oidvector" => DataType::new_list(DataType::UInt32, true),
        _ => ty.arrow(),
    }
}

/// The field of a column of the catalog.
pub(super) fn field(column: &str, name: &str, ty: &SqlType) -> Field {
    as_type(Field::new(column, lies_while_read(name, ty), true), name)
}

/// `field`, said to be of PostgreSQL's type `name`.
pub fn as_type(field: Field, name: &str) -> Field {
    field.with_metadata([(TYPE.to_string(), name.to_string())].into())
}

/// The name of PostgreSQL's type of `field`, where it is more than its SQL type. A cast keeps what its argument said of itself: it
/// counts only for values that still lie so.
pub fn type_told(field: &Field) -> Option<&str> {
    let said = field.metadata().get(TYPE).map(String::as_str);
    match (field.data_type(), said) {
        (DataType::UInt32, Some(name)) if name.starts_with("reg") => Some(name),
        (DataType::UInt32, _) => Some("oid"),
        (DataType::Utf8, Some(name @ ("name" | "char"))) => Some(name),
        (DataType::List(element), said) => match (element.data_type(), said) {
            (DataType::UInt32, Some("oidvector")) => Some("oidvector"),
            (DataType::UInt32, _) => Some("_oid"),
            (DataType::Int16, Some("int2vector")) => Some("int2vector"),
            _ => None,
        },
        _ => None,
    }
}

/// The numbers of such types, by the places of the fields.
pub fn types_told(schema: &Schema) -> Told {
    let fields = schema.fields().iter().enumerate();
    fields.filter_map(|(place, field)| Some((place, pg_type_named(type_told(field)?)?.oid))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_counts_while_its_values_lie_so() {
        let check = |name: &str, ty: &SqlType, expected: Option<&str>| {
            assert_eq!(type_told(&field("c", name, ty)), expected, "{name}");
        };
        check("oid", &SqlType::BigInt, Some("oid"));
        check("regproc", &SqlType::BigInt, Some("regproc"));
        check("name", &SqlType::Varchar, Some("name"));
        check("text", &SqlType::Varchar, None);
        check("_oid", &SqlType::Array(Box::new(SqlType::BigInt)), Some("_oid"));
        check("oidvector", &SqlType::Array(Box::new(SqlType::BigInt)), Some("oidvector"));
        check("int2vector", &SqlType::Array(Box::new(SqlType::SmallInt)), Some("int2vector"));
        check("_int2", &SqlType::Array(Box::new(SqlType::SmallInt)), None);
        let cast = field("c", "regclass", &SqlType::BigInt).with_data_type(DataType::Int64);
        assert_eq!(type_told(&cast), None);
        let schema = Schema::new(vec![cast, field("o", "oid", &SqlType::BigInt)]);
        assert_eq!(types_told(&schema), Told::from([(1, 26)]));
    }
}
