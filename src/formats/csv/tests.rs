//! CSV: framing across quotes, headers, NULLs, ragged records; and what is encoded is decoded again.

use super::*;
use crate::formats::Format;
use crate::types::{Column, Schema, SqlType};

const TEXT: &str = "id,name,at\n1,a,2024-01-01 10:00:00\n2,\"two\nlines, \"\"quoted\"\"\",\n3,x\nfour,y,\n5,NA,2024-01-02T00:00:00\n\n6,\"\",2024-01-01 00:00:00.5,extra\n7,five\" inch,\n";

fn schema() -> Schema {
    Schema::new(vec![
        Column::new("at", SqlType::Timestamp),
        Column::new("id", SqlType::BigInt),
        Column::new("name", SqlType::Varchar),
    ])
}

fn decode(batch_rows: usize) -> (Vec<i64>, Vec<Option<String>>, Vec<String>) {
    let options = CsvOptions { null: "NA".into(), ..CsvOptions::default() };
    let (header, body) = TEXT.split_at(TEXT.find('\n').unwrap() + 1);
    let settings = DecodeSettings { batch_rows, ..DecodeSettings::new(schema()) };
    let mut decoder = CsvDecoder::new(options, settings, Some(header.as_bytes())).unwrap();
    let decoded = decoder.decode(body.as_bytes()).unwrap();
    let (mut ids, mut names, mut bad) = (vec![], vec![], vec![]);
    for piece in decoded {
        ids.extend(piece.rows.column(1).as_primitive::<arrow::datatypes::Int64Type>().values());
        names.extend(piece.rows.column(2).as_string::<i32>().iter().map(|name| name.map(str::to_owned)));
        bad.extend(piece.bad.into_iter().map(|bad| body[bad.at].to_owned()));
    }
    (ids, names, bad)
}

#[test]
fn records_and_faults() {
    let (ids, names, bad) = decode(8192);
    assert_eq!(ids, [1, 2, 5, 7]);
    assert_eq!(names[1].as_deref(), Some("two\nlines, \"quoted\""));
    assert_eq!((names[2].as_deref(), names[3].as_deref()), (None, Some("five\" inch")));
    assert_eq!(bad, ["3,x", "four,y,", "6,\"\",2024-01-01 00:00:00.5,extra"]);
    for rows in 1..9 {
        assert_eq!(decode(rows), decode(8192));
    }
}

#[test]
fn blocks_end_with_records() {
    let bytes = TEXT.as_bytes();
    let ends: Vec<usize> = records(bytes, b',').iter().map(|record| record.end + 1).collect();
    for cut in 0..=bytes.len() {
        let expected = ends.iter().copied().filter(|&end| end <= cut).max().unwrap_or(0);
        let found = last_end(&bytes[..cut], b',').unwrap_or(0);
        assert!(found == expected || bytes[expected..found].iter().all(|&byte| byte == b'\n'), "{cut}");
    }
}

#[test]
fn encoding_is_the_way_back() {
    let ids: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![1, 2]));
    let names: ArrayRef = Arc::new(arrow::array::StringArray::from(vec![Some("a\"b,\nc"), None]));
    let schema = Schema::new(vec![Column::new("id", SqlType::BigInt), Column::new("name", SqlType::Varchar)]);
    let rows = RecordBatch::try_new(schema.arrow(), vec![ids, names]).unwrap();
    for format in [Format::Csv(CsvOptions::default()), Format::Ndjson(Default::default())] {
        let encoded = format.encode(&schema.arrow(), std::slice::from_ref(&rows)).unwrap();
        let header = (!encoded.header.is_empty()).then_some(&*encoded.header);
        let mut decoder = format.decoder(&DecodeSettings::new(schema.clone()), header).unwrap();
        assert_eq!(decoder.decode(&encoded.body).unwrap().remove(0).rows, rows, "{format:?}");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let encoded = Format::Parquet.encode(&schema.arrow(), std::slice::from_ref(&rows)).unwrap();
    std::fs::write(&path, &encoded.body).unwrap();
    assert_eq!(crate::formats::infer_schema(&Format::Parquet, &path).unwrap(), schema);
    let mut settings = DecodeSettings::new(schema.project(&[1, 0]));
    settings.schema.columns[0].nullable = false;
    let batch = crate::formats::ParquetRows::open(&path, &settings, 0, None).unwrap().next().unwrap().unwrap();
    assert_eq!((batch.rows.num_rows(), batch.end_row, batch.bad.len(), batch.bad[0].0), (1, 2, 1, 1));
    let rest = crate::formats::ParquetRows::open(&path, &settings, 1, Some(2)).unwrap().next().unwrap().unwrap();
    assert_eq!((rest.rows.num_rows(), rest.end_row), (0, 2));
    std::fs::write(&path, b"PAR1 nonsense PAR1").unwrap();
    assert!(crate::formats::infer_schema(&Format::Parquet, &path).is_err());
}
