//! PostgreSQL's types: those that our SQL types are for clients, and those of its catalog's columns.
//!
//! `types.txt` holds one type per line, as PostgreSQL's bootstrap catalog has it: oid, name, length, by value, kind, category,
//! preferred, element, array, the numbers of its four functions of input and output, alignment, storage, collation.

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::types::SqlType;
use crate::types::numeric::Shows;

const TYPES: &str = include_str!("types.txt");
/// The functions of input and output that types name, one per line: number and name.
const IO_FUNCTIONS: &str = include_str!("io_functions.txt");

/// A line of `pg_type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PgType {
    /// PostgreSQL's number of it.
    pub oid: u32,
    /// Its internal name: `int4`.
    pub name: &'static str,
    /// Bytes of a value; -1: varies.
    pub bytes: i16,
    /// Whether values are passed by value.
    pub by_value: bool,
    /// `b` base, `p` pseudo.
    pub kind: &'static str,
    /// The category of `pg_type.typcategory`.
    pub category: &'static str,
    /// Whether it is the preferred one of its category.
    pub preferred: bool,
    /// The type of its elements, or 0.
    pub element: u32,
    /// The type of arrays of it, or 0.
    pub array: u32,
    /// Names of its input, output, receive and send functions.
    pub functions: [u32; 4],
    /// `c`, `s`, `i` or `d`.
    pub align: &'static str,
    /// `p`, `x` or `m`.
    pub storage: &'static str,
    /// Its collation, or 0.
    pub collation: u32,
}

/// All types, by the order of their file.
pub fn pg_types() -> &'static [PgType] {
    static FOUND: OnceLock<Vec<PgType>> = OnceLock::new();
    FOUND.get_or_init(|| TYPES.lines().filter_map(read).collect())
}

fn read(line: &'static str) -> Option<PgType> {
    let words: Vec<&str> = line.split(' ').collect();
    let [oid, name, bytes, by_value, kind, category, preferred, element, array, i, o, r, s, align, storage, collation] =
        words[..]
    else {
        return None;
    };
    let number = |word: &str| word.parse::<u32>().unwrap_or_default();
    Some(PgType {
        oid: oid.parse().ok()?,
        name,
        bytes: bytes.parse().ok()?,
        by_value: by_value == "t",
        kind,
        category,
        preferred: preferred == "t",
        element: number(element),
        array: number(array),
        functions: [number(i), number(o), number(r), number(s)],
        align,
        storage,
        collation: number(collation),
    })
}

/// Functions of input and output of types, by number and name.
pub fn io_functions() -> impl Iterator<Item = (u32, &'static str)> {
    IO_FUNCTIONS
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(oid, name)| Some((oid.parse().ok()?, name)))
}

/// The type with that number.
pub fn pg_type(oid: u32) -> Option<&'static PgType> {
    static BY_OID: OnceLock<HashMap<u32, usize>> = OnceLock::new();
    let by_oid =
        BY_OID.get_or_init(|| pg_types().iter().enumerate().map(|(place, found)| (found.oid, place)).collect());
    pg_types().get(*by_oid.get(&oid)?)
}

/// The type with that internal name.
pub fn pg_type_named(name: &str) -> Option<&'static PgType> {
    pg_types().iter().find(|found| found.name == name)
}

/// Number and modifier of the type that clients are told for values of `ty`.
pub fn pg_type_of(ty: &SqlType) -> (u32, i32) {
    let oid = match ty {
        SqlType::Boolean => 16,
        SqlType::SmallInt => 21,
        SqlType::Int => 23,
        SqlType::BigInt => 20,
        SqlType::Real => 700,
        SqlType::Double => 701,
        SqlType::Decimal { .. } => 1700,
        SqlType::Varchar => 1043,
        SqlType::Bytea => 17,
        SqlType::Date => 1082,
        SqlType::Time => 1083,
        SqlType::Timestamp => 1114,
        SqlType::TimestampTz => 1184,
        SqlType::Interval => 1186,
        SqlType::Uuid => 2950,
        SqlType::Jsonb => 3802,
        SqlType::Row(_) => 2249,
        SqlType::Array(element) => {
            let element = pg_type(pg_type_of(element).0);
            return (element.map_or(2287, |element| element.array), -1);
        }
    };
    let modifier = match ty {
        SqlType::Decimal { precision, scale } if Shows::of(*precision, *scale) == Shows::Scale && *scale >= 0 => {
            ((i32::from(*precision) << 16) | i32::from(*scale)) + 4
        }
        _ => -1,
    };
    (oid, modifier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_type_and_arrays_know_their_elements() {
        assert_eq!(pg_types().len(), TYPES.lines().count());
        for ty in pg_types().iter().filter(|ty| ty.array > 0) {
            let array = pg_type(ty.array).unwrap_or_else(|| panic!("{} has no array", ty.name));
            assert_eq!((array.element, array.name), (ty.oid, &*format!("_{}", ty.name)));
        }
    }

    #[test]
    fn functions_of_types_have_names() {
        let known: Vec<u32> = io_functions().map(|(oid, _)| oid).collect();
        assert_eq!(known.len(), IO_FUNCTIONS.lines().count());
        let of_types = pg_types().iter().flat_map(|ty| ty.functions).filter(|&oid| oid > 0);
        assert_eq!(of_types.filter(|oid| !known.contains(oid)).count(), 0);
    }

    #[test]
    fn sql_types_are_types_of_the_catalog() {
        let check = |ty: SqlType, name: &str, modifier: i32| {
            let (oid, found) = pg_type_of(&ty);
            assert_eq!((pg_type(oid).unwrap().name, found), (name, modifier), "{ty}");
        };
        check(SqlType::BigInt, "int8", -1);
        check(SqlType::Decimal { precision: 12, scale: 2 }, "numeric", 786_438);
        check(SqlType::NUMERIC, "numeric", -1);
        check(SqlType::Array(Box::new(SqlType::Varchar)), "_varchar", -1);
        check(SqlType::Row(Vec::new()), "record", -1);
    }
}
