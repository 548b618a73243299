//! Three million real flights in arrival order: the rows that are late, and the hourly view, whatever the corner. Where
//! that file is not at hand (`MILLSTREAM_FLIGHTS`), the first 30,000 of them, which lie in `examples/data`.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arrow::array::{AsArray, Int64Array, RecordBatch, UInt64Array};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit, TimestampMicrosecondType};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::harness::{Db, Server, block_on, flights, full};

const HOUR_US: i64 = 3_600_000_000;
const MINUTE_US: i64 = 60_000_000;
/// Late rows of the three million, and of the sample.
const LATE_ROWS: u64 = 69_696;
const LATE_ROWS_SAMPLE: u64 = 863;

/// The rows in arrival order, and what the hourly view must say.
struct Arrivals {
    file: PathBuf,
    /// (origin, window start) → (flights, sum of delays), over the accepted rows.
    hourly: HashMap<(String, i64), (i64, i64)>,
    late: u64,
}

impl Arrivals {
    fn accepted(&self) -> usize {
        self.hourly.values().map(|(flights, _)| *flights as usize).sum()
    }
}

/// Sorts the flights by `date + delay` (ties by file row) into a Parquet file, once per test run.
fn arrivals() -> &'static Arrivals {
    static ARRIVALS: OnceLock<Arrivals> = OnceLock::new();
    ARRIVALS.get_or_init(|| match flights() {
        Some(path) => sort_by_arrival(&read_flights(&path), LATE_ROWS),
        None => sort_by_arrival(&read_sample(), LATE_ROWS_SAMPLE),
    })
}

fn sort_by_arrival(rows: &RecordBatch, late_rows: u64) -> Arrivals {
    let dates = rows.column(0).as_primitive::<TimestampMicrosecondType>().values().clone();
    let delays = rows.column(1).as_primitive::<Int64Type>().values().clone();
    let mut order: Vec<u64> = (0..rows.num_rows() as u64).collect();
    order.sort_by_key(|&row| (dates[row as usize] + delays[row as usize] * MINUTE_US, row));
    let sorted = take_record_batch(rows, &UInt64Array::from(order)).unwrap();
    // The same bytes at every run: whoever comes later replaces them with their like.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let aside = folder.join(format!("flights-{}.part", std::process::id()));
    let file = folder.join(format!("flights-{}.parquet", rows.num_rows()));
    let mut writer = ArrowWriter::try_new(File::create(&aside).unwrap(), sorted.schema(), None).unwrap();
    writer.write(&sorted).unwrap();
    writer.close().unwrap();
    std::fs::rename(aside, &file).unwrap();
    let (hourly, late) = expected(&sorted);
    assert_eq!(late, late_rows, "the data or this test's own rule is wrong");
    Arrivals { file, hourly, late }
}

fn read_sample() -> RecordBatch {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/flights.ndjson");
    let lines = std::fs::read(path).unwrap();
    let fields = [
        ("date", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ("delay", DataType::Int64),
        ("distance", DataType::Int64),
        ("origin", DataType::Utf8),
        ("destination", DataType::Utf8),
    ];
    let schema = Arc::new(Schema::new(fields.map(|(name, ty)| Field::new(name, ty, true)).to_vec()));
    let reader = arrow::json::ReaderBuilder::new(Arc::clone(&schema)).build(lines.as_slice()).unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

fn read_flights(path: &Path) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    let all = concat_batches(&batches[0].schema(), &batches).unwrap();
    let types = [
        ("date", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ("delay", DataType::Int64),
        ("distance", DataType::Int64),
        ("origin", DataType::Utf8),
        ("destination", DataType::Utf8),
    ];
    let columns = types.iter().map(|(name, ty)| cast(all.column_by_name(name).unwrap(), ty).unwrap()).collect();
    let fields: Vec<Field> = types.iter().map(|(name, ty)| Field::new(*name, ty.clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// By origin and start of the hour: flights and the sum of their delays.
type Hourly = HashMap<(String, i64), (i64, i64)>;

/// The rule of the issue, row by row: late when the hour's end is not above the largest `date - 2 h` before it.
fn expected(rows: &RecordBatch) -> (Hourly, u64) {
    let dates = rows.column(0).as_primitive::<TimestampMicrosecondType>();
    let delays: &Int64Array = rows.column(1).as_primitive();
    let origins = rows.column(3).as_string::<i32>();
    let (mut hourly, mut late, mut watermark) = (Hourly::new(), 0, i64::MIN);
    for row in 0..rows.num_rows() {
        let start = dates.value(row).div_euclid(HOUR_US) * HOUR_US;
        if start + HOUR_US <= watermark {
            late += 1;
        } else {
            let sums: &mut (i64, i64) = hourly.entry((origins.value(row).to_string(), start)).or_default();
            sums.0 += 1;
            sums.1 += delays.value(row);
        }
        watermark = watermark.max(dates.value(row) - 2 * HOUR_US);
    }
    (hourly, late)
}

fn setup_sql(file: &Path) -> String {
    format!(
        "CREATE SOURCE flights (date TIMESTAMP, delay BIGINT, distance BIGINT, origin VARCHAR, destination VARCHAR,
           WATERMARK FOR date AS date - INTERVAL '2 hours')
         WITH (connector = 'file', path = '{}') FORMAT PLAIN ENCODE PARQUET;
         CREATE MATERIALIZED VIEW hourly AS
           SELECT origin, window_start, count(*) AS flights, sum(delay) AS total, avg(delay) AS delay
           FROM TUMBLE(flights, date, INTERVAL '1 hour') GROUP BY origin, window_start, window_end;
         CREATE MATERIALIZED VIEW closed AS
           SELECT origin, window_start, count(*) AS flights, sum(delay) AS total, avg(delay) AS delay
           FROM TUMBLE(flights, date, INTERVAL '1 hour') GROUP BY origin, window_start, window_end
           EMIT ON WINDOW CLOSE;",
        file.display()
    )
}

/// Compares both views and the late rows with what they must be.
async fn check(db: &Db, arrivals: &Arrivals) {
    db.run("WAIT FOR hourly, closed").await;
    for view in ["hourly", "closed"] {
        assert_eq!(db.value(&format!("SELECT count(*) FROM ms_late.{view}")).await, arrivals.late.to_string());
        let rows = db
            .rows(&format!(
                "SELECT origin, (extract(epoch FROM window_start) * 1000000)::bigint, flights, total, delay FROM {view}"
            ))
            .await;
        assert_eq!(rows.len(), arrivals.hourly.len(), "groups of {view}");
        for row in rows {
            let key = (row[0].clone(), row[1].parse().unwrap());
            let (flights, total) = arrivals.hourly.get(&key).unwrap_or_else(|| panic!("{view} invents {row:?}"));
            assert_eq!((row[2].parse(), row[3].parse()), (Ok(*flights), Ok(*total)), "{view}: {row:?}");
            let average: f64 = row[4].parse().unwrap();
            assert!((average - *total as f64 / *flights as f64).abs() < 1e-9, "{view}: {row:?}");
        }
    }
}

fn run(workers: usize, batch_rows: usize, kills: usize) {
    let arrivals = arrivals();
    let (workers, batch_rows) = (workers.to_string(), batch_rows.to_string());
    let arguments = ["--workers", &workers, "--batch-rows", &batch_rows, "--checkpoint-interval", "500ms"];
    let mut server = Server::start(&arguments);
    block_on(async {
        server.connect().await.run(&setup_sql(&arrivals.file)).await;
        for kill in 1..=kills {
            let share = arrivals.accepted() * kill / (kills + 1);
            let db = server.connect().await;
            // A machine that does much else may take long over an epoch.
            db.run("SET read_timeout = '10min'").await;
            while db.value("SELECT coalesce(sum(flights), 0) FROM hourly").await.parse::<usize>().unwrap() < share {
                tokio::task::yield_now().await;
            }
            drop(db);
            server.kill();
            server.restart(None);
        }
        check(&server.connect().await, arrivals).await;
    });
}

#[test]
fn two_workers_killed_in_the_middle() {
    run(2, 8_192, 1);
}

#[test]
fn any_number_of_workers_and_any_batch_size() {
    if !full() {
        return run(4, 65_536, 0);
    }
    for workers in [1, 2, 4] {
        for batch_rows in [512, 4_096, 65_536] {
            run(workers, batch_rows, 0);
        }
    }
    run(1, 4_096, 3);
    run(4, 4_096, 3);
}
