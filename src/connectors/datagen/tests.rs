//! Columns of every kind: by number, in range, the same from any cut.

use arrow::array::{Array, AsArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::util::display::array_value_to_string;

use super::*;
use crate::types::{Column, SqlType};

fn datagen(columns: &[(&str, SqlType)], options: &[(&str, &str)]) -> Result<Datagen> {
    let columns = columns.iter().map(|(name, ty)| Column::new(*name, ty.clone())).collect();
    let mut fields: BTreeMap<String, FieldOptions> = BTreeMap::new();
    for (key, value) in options {
        let (column, key) = key.split_once('.').unwrap();
        fields.entry(column.to_string()).or_default().insert(key.to_string(), value.to_string());
    }
    Datagen::new(&Schema::new(columns), &fields)
}

fn shown(datagen: &Datagen, rows: u64) -> Vec<String> {
    let batch = datagen.rows(0, rows).unwrap();
    let line = |row| {
        let cells = batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap());
        cells.collect::<Vec<_>>().join(" ")
    };
    (0..batch.num_rows()).map(line).collect()
}

#[test]
fn every_type_the_same_from_any_cut() {
    let types = [
        SqlType::Boolean,
        SqlType::SmallInt,
        SqlType::Int,
        SqlType::BigInt,
        SqlType::Real,
        SqlType::Double,
        SqlType::Decimal { precision: 12, scale: 2 },
        SqlType::Varchar,
        SqlType::Bytea,
        SqlType::Date,
        SqlType::Time,
        SqlType::Timestamp,
        SqlType::TimestampTz,
    ];
    let names: Vec<String> = (0..types.len()).map(|i| format!("c{i}")).collect();
    let columns: Vec<(&str, SqlType)> = names.iter().map(String::as_str).zip(types).collect();
    let made = datagen(&columns, &[("c3.nulls", "30"), ("c7.length", "3")]).unwrap();
    let whole = made.rows(0, 500).unwrap();
    let parts: Vec<_> = (0..50).map(|part| made.rows(part * 10, part * 10 + 10).unwrap()).collect();
    assert_eq!(whole, concat_batches(&whole.schema(), &parts).unwrap());
    let nulls = whole.column(3).null_count();
    assert!((100..200).contains(&nulls), "{nulls}");
    let numbers = whole.column(2).as_primitive::<Int32Type>();
    assert!(numbers.values().iter().all(|n| (0..=1000).contains(n)));
    assert!(numbers.values().iter().collect::<std::collections::HashSet<_>>().len() > 200);
}

#[test]
fn sequences_and_choices() {
    let columns = [("id", SqlType::BigInt), ("at", SqlType::Timestamp), ("day", SqlType::Date)];
    let options = [
        ("id.kind", "sequence"),
        ("id.start", "7"),
        ("id.end", "9"),
        ("at.kind", "sequence"),
        ("at.start", "2024-02-28 23:59:00"),
        ("at.step", "30 seconds"),
        ("day.kind", "sequence"),
        ("day.start", "2024-02-28"),
    ];
    let made = datagen(&columns, &options).unwrap();
    assert_eq!(
        shown(&made, 4),
        [
            "7 2024-02-28T23:59:00 2024-02-28",
            "8 2024-02-28T23:59:30 2024-02-29",
            "9 2024-02-29T00:00:00 2024-03-01",
            "7 2024-02-29T00:00:30 2024-03-02"
        ]
    );
    let made = datagen(&[("n", SqlType::BigInt)], &[("n.choices", "1, 5"), ("n.seed", "3")]).unwrap();
    let rows = made.rows(0, 100).unwrap();
    let numbers = rows.column(0).as_primitive::<Int64Type>().values().to_vec();
    assert!(numbers.contains(&1) && numbers.contains(&5) && numbers.iter().all(|n| [1, 5].contains(n)));
}

#[test]
fn refusals_name_the_option() {
    let report = |ty: SqlType, key: &str, value: &str| {
        datagen(&[("c", ty)], &[(&format!("c.{key}"), value)]).err().unwrap().report()
    };
    assert!(report(SqlType::Int, "min", "x").contains("\"min\""));
    assert!(report(SqlType::Int, "kind", "odd").contains("sequence or random"));
    assert!(report(SqlType::Varchar, "kind", "sequence").contains("random"));
    assert!(report(SqlType::Int, "max", "-5").contains("\"min\""));
    assert!(report(SqlType::Boolean, "choices", "true,maybe").contains("choices"));
    assert!(datagen(&[("c", SqlType::Int)], &[("d.min", "1")]).is_err());
}
