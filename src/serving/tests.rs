//! Reads and subscriptions over published views.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::tree_node::TreeNode;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{ColumnarValue, LogicalPlan, Volatility, create_udf};
use datafusion::prelude::SessionContext;
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;

use super::*;
use crate::base::random::Random;
use crate::base::{ErrorKind, Result};
use crate::state::{MemoryBudget, PublishedView, ShardWriter, ViewLimits};
use crate::types::{Column, DeltaBatch, Epoch, RelationId, Schema, SqlType};

/// id (key), name, n.
fn view(shards: usize, history_bytes: usize) -> (Arc<PublishedView>, Vec<ShardWriter>) {
    let columns = [("id", SqlType::Int), ("name", SqlType::Varchar), ("n", SqlType::BigInt)];
    let schema = Schema::new(columns.map(|(name, ty)| Column::new(name, ty)).to_vec());
    let limits = ViewLimits { budget: MemoryBudget::unlimited(), visible: None, history_bytes };
    let view = PublishedView::with_limits(schema, vec![0, 1], shards, limits);
    let writers = (0..shards).map(|shard| view.shard(shard).unwrap()).collect();
    (view, writers)
}

fn deltas(view: &PublishedView, rows: &[(i32, i64, i64)]) -> DeltaBatch {
    let id: ArrayRef = Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.0)));
    let name: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| format!("name {}", row.0 % 7))));
    let n: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)));
    let batch = RecordBatch::try_new(view.schema().arrow(), vec![id, name, n]).unwrap();
    DeltaBatch::new(batch, rows.iter().map(|row| row.2).collect()).unwrap()
}

/// Ids 0 .. `rows`, n = id, then every third n replaced by -id.
fn filled(rows: i32, shards: usize) -> Arc<PublishedView> {
    let (view, mut writers) = view(shards, 1 << 20);
    for (shard, writer) in writers.iter_mut().enumerate() {
        let mine = (0..rows).filter(|id| *id as usize % shards == shard);
        let all: Vec<_> = mine.clone().map(|id| (id, i64::from(id), 1)).collect();
        writer.close(Epoch(1), vec![deltas(&view, &all)]).unwrap();
        let thirds = mine.filter(|id| id % 3 == 0 && *id > 0);
        let changes: Vec<_> = thirds.flat_map(|id| [(id, i64::from(id), -1), (id, -i64::from(id), 1)]).collect();
        writer.close(Epoch(2), vec![deltas(&view, &changes)]).unwrap();
    }
    view
}

fn runner(memory_bytes: usize) -> QueryRunner {
    let limits = QueryLimits { threads: 2, memory_bytes };
    QueryRunner::start(&limits, || SessionStateBuilder::new().with_default_features()).unwrap()
}

fn plan(runner: &QueryRunner, view: &Arc<PublishedView>, sql: &str) -> LogicalPlan {
    let reads = ReadSet::at(Epoch(2), [(RelationId(1), view)]).unwrap();
    assert_eq!((reads.epoch(), reads.rows()), (Epoch(2), view.rows()));
    let context = SessionContext::new_with_state(runner.session_state().clone());
    context.deregister_table("v").unwrap();
    context.register_table("v", reads.table(RelationId(1)).unwrap()).unwrap();
    context.register_udf(panicking());
    let state = context.state();
    futures::executor::block_on(state.create_logical_plan(sql)).unwrap()
}

fn panicking() -> datafusion::logical_expr::ScalarUDF {
    let act = Arc::new(|_: &[ColumnarValue]| -> datafusion::error::Result<ColumnarValue> { panic!("on purpose") });
    create_udf("panicking", vec![DataType::Int64], DataType::Int64, Volatility::Volatile, act)
}

fn rows(runner: &QueryRunner, view: &Arc<PublishedView>, sql: &str) -> Result<Vec<String>> {
    let batches: Vec<RecordBatch> =
        futures::executor::block_on_stream(runner.run(plan(runner, view, sql))).collect::<Result<_>>()?;
    let mut lines = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cell = |column: &ArrayRef| arrow::util::display::array_value_to_string(column, row).unwrap();
            lines.push(batch.columns().iter().map(cell).collect::<Vec<_>>().join(","));
        }
    }
    Ok(lines)
}

#[test]
fn queries_see_the_snapshot() {
    let runner = runner(64 << 20);
    for (count, shards) in [(10, 1), (30_000, 3), (100_000, 2)] {
        let view = filled(count, shards);
        let expected: i64 = (0..i64::from(count)).map(|id| if id % 3 == 0 { -id } else { id }).sum();
        assert_eq!(rows(&runner, &view, "SELECT sum(n) FROM v").unwrap(), [expected.to_string()]);
        assert_eq!(rows(&runner, &view, "SELECT count(*) FROM v").unwrap(), [count.to_string()]);
        let grouped = rows(&runner, &view, "SELECT id % 2, count(*) FROM v GROUP BY 1 ORDER BY 1").unwrap();
        assert_eq!(grouped, [format!("0,{}", count / 2), format!("1,{}", count / 2)]);
        assert_eq!(rows(&runner, &view, "SELECT n FROM v ORDER BY id LIMIT 4").unwrap(), ["0", "1", "2", "-3"]);
        assert_eq!(rows(&runner, &view, "SELECT id FROM v LIMIT 3").unwrap().len(), 3);
        let twice = "SELECT count(*) FROM v a JOIN v b ON a.n = -b.n WHERE a.id > 0";
        assert_eq!(rows(&runner, &view, twice).unwrap(), ["0"]);
        assert_eq!(rows(&runner, &view, "SELECT (SELECT max(n) FROM v) > 0").unwrap(), ["true"]);
    }
}

#[test]
fn answers_come_in_the_types_of_sql() {
    let (runner, view) = (runner(64 << 20), filled(3, 1));
    let sql = "SELECT rank() OVER (ORDER BY n) AS place, arrow_cast(name, 'Utf8View') AS name, NULL AS nothing FROM v";
    let batches = futures::executor::block_on_stream(runner.run(plan(&runner, &view, sql)));
    for batch in batches.map(Result::unwrap) {
        let types: Vec<_> = batch.columns().iter().map(|column| column.data_type().clone()).collect();
        assert_eq!(types, [DataType::Decimal128(20, 0), DataType::Utf8, DataType::Utf8]);
    }
}

#[test]
fn a_join_reads_the_keys_that_it_wants() {
    let runner = runner(256 << 20);
    let mut random = Random::new(5);
    // Few rows are read by one thread, many by two.
    for (count, shards) in [(3_000, 2), (200_000, 3)] {
        let view = filled(count, shards);
        for (join, inner) in [
            ("JOIN v ON v.id = t.k", true),
            ("JOIN v ON v.name = t.s AND v.id = t.k", true),
            ("LEFT JOIN v ON v.id = t.k AND v.name = t.s", false),
        ] {
            let keys: Vec<Option<i32>> =
                (0..20).map(|_| (!random.one_in(5)).then(|| random.between(-2, 40) as i32)).collect();
            let value = |key: &Option<i32>| match key {
                Some(key) => format!("({key}, 'name {}')", key.rem_euclid(7)),
                None => "(NULL, 'name 0')".to_owned(),
            };
            let values = keys.iter().map(value).collect::<Vec<_>>().join(", ");
            let sql = format!(
                "SELECT v.n FROM (SELECT CAST(column1 AS INT) AS k, column2 AS s FROM (VALUES {values})) t {join}"
            );
            let told = futures::executor::block_on(runner.explain(plan(&runner, &view, &sql))).unwrap();
            assert!(told.contains("the keys that a join wants"), "{told}");
            let there = keys.iter().map(|key| key.filter(|&key| key >= 0));
            let mut expected: Vec<String> = there
                .filter(|key| !inner || key.is_some())
                .map(|key| key.map_or(String::new(), |id| (if id % 3 == 0 { -id } else { id }).to_string()))
                .collect();
            let mut found = rows(&runner, &view, &sql).unwrap();
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{sql}");
        }
    }
}

#[test]
fn point_reads_answer_as_the_engine_does() {
    let runner = runner(64 << 20);
    let view = filled(60, 2);
    let mut random = Random::new(11);
    let mut fast = 0;
    for _ in 0..60 {
        let id = random.between(-3, 63);
        let name = format!("name {}", if random.one_in(4) { 6 } else { id.rem_euclid(7) });
        let columns = *random.pick(&["*", "n", "n AS x, id", "name, n, n AS again"]).unwrap();
        let from = *random.pick(&["v", "v AS w"]).unwrap();
        let conditions = [
            format!("id = {id}"),
            format!("{id} = id AND name = '{name}'"),
            format!("name = '{name}' AND id = {id} AND n > 0"),
            format!("name = '{name}' AND id < 20"),
            format!("id = {id} AND id = 5"),
        ];
        let condition = random.pick(&conditions).unwrap();
        let sql = format!("SELECT {columns} FROM {from} WHERE {condition} ORDER BY 1");
        let plain = sql.trim_end_matches(" ORDER BY 1");
        fast += usize::from(super::lookup::answer(&plan(&runner, &view, plain)).unwrap().is_some());
        let mut answers = rows(&runner, &view, plain).unwrap();
        answers.sort();
        // Equality in words that no fast path knows.
        let slow = sql.replace("id = ", "id + 0 = ").replace("= id", "= id + 0").replace("name = ", "name || '' = ");
        let mut expected = rows(&runner, &view, &slow).unwrap();
        expected.sort();
        assert_eq!(answers, expected, "{plain}");
    }
    assert!(fast > 10, "{fast} point reads");
    let explained = futures::executor::block_on(runner.explain(plan(
        &runner,
        &view,
        "SELECT sum(n) FROM v WHERE id = 9 AND n > -100",
    )));
    assert!(explained.unwrap().contains("rows=key"));
}

#[test]
fn a_query_ends_with_its_rows_and_its_limits() {
    let view = filled(50_000, 2);
    let runner = runner(256 << 10);
    let error = rows(&runner, &view, "SELECT name || id, array_agg(n) FROM v GROUP BY 1 ORDER BY 1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.report().contains("query_memory_limit"), "{}", error.report());
    let error = rows(&runner, &view, "SELECT panicking(n) FROM v").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    let error = rows(&runner, &view, "SELECT 1 / (n - n) FROM v").unwrap_err();
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Fault, "22012"));
}

#[test]
fn a_query_ends_when_its_rows_are_dropped() {
    let (view, runner) = (filled(50_000, 2), runner(64 << 20));
    let mut stream = runner.run(plan(&runner, &view, "SELECT a.id FROM v a, v b WHERE a.n + b.n > -1000000"));
    let first = futures::executor::block_on(stream.next()).unwrap().unwrap();
    assert!(first.num_rows() > 0 && runner.tasks() > 0);
    drop(stream);
    // Hangs if the 2.5 billion rows are made after all.
    while runner.tasks() > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn bound_plans_have_no_scans_of_others() {
    let runner = runner(1 << 20);
    let view = filled(3, 1);
    let plan = plan(&runner, &view, "SELECT * FROM v WHERE id IN (SELECT max(id) FROM v)");
    let scans = AtomicUsize::new(0);
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            assert!(super::lookup::snapshot_of(scan).is_some());
            scans.fetch_add(1, Ordering::Relaxed);
        }
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    })
    .unwrap();
    assert_eq!(scans.into_inner(), 2);
    assert!(plan.exists(|_| Ok(true)).unwrap());
}

/// The next change, which must be there without waiting.
fn told(subscription: &mut Subscription) -> String {
    match subscription.next().now_or_never() {
        None => "waits".into(),
        Some(None) => "ended".into(),
        Some(Some(Ok(Change::Progress(epoch)))) => format!("progress {epoch}"),
        Some(Some(Ok(Change::Rows(epoch, deltas)))) => {
            let n = deltas.rows.column(2).as_primitive::<Int64Type>();
            let rows: Vec<_> =
                (0..deltas.len()).map(|i| format!("{:+}:{}", deltas.weights.get(i), n.value(i))).collect();
            format!("{epoch} {}", rows.join(" "))
        }
        Some(Some(Err(error))) => format!("{:?} {error}", error.kind()),
    }
}

#[test]
fn subscriptions_tell_every_epoch_in_order() {
    let (view, mut writers) = view(1, 1 << 20);
    let (announce, visible) = watch::channel(Epoch(0));
    let mut close = |epoch: u64, rows: &[(i32, i64, i64)]| {
        writers[0].close(Epoch(epoch), vec![deltas(&view, rows)]).unwrap();
    };
    close(3, &[(1, 10, 1), (2, 20, 1)]);
    announce.send(Epoch(3)).unwrap();
    let begin = |start| Subscription::begin(Arc::clone(&view), visible.clone(), start);
    let (mut whole, mut after, mut now) =
        (begin(Start::Snapshot).unwrap(), begin(Start::After(Epoch(0))).unwrap(), begin(Start::Now).unwrap());
    assert_eq!((told(&mut whole), told(&mut whole)), ("3 +1:10 +1:20".into(), "progress 3".into()));
    assert_eq!((told(&mut after), told(&mut after)), ("3 +1:10 +1:20".into(), "progress 3".into()));
    for subscription in [&mut whole, &mut after, &mut now] {
        assert_eq!(told(subscription), "waits");
    }
    close(5, &[(1, 10, -1), (1, 11, 1)]);
    assert_eq!(told(&mut now), "waits", "closed and not yet visible");
    close(6, &[(2, 20, -1)]);
    announce.send(Epoch(8)).unwrap();
    for subscription in [&mut whole, &mut after, &mut now] {
        assert_eq!(told(subscription), "5 -1:10 +1:11");
        assert_eq!(told(subscription), "6 -1:20");
        assert_eq!(told(subscription), "progress 8");
        assert_eq!(told(subscription), "waits");
    }
    let error = begin(Start::After(Epoch(9))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    drop(announce);
    assert_eq!(told(&mut whole), "ended");
}

#[test]
fn a_slow_subscriber_is_told() {
    let (view, mut writers) = view(1, 4096);
    let (announce, visible) = watch::channel(Epoch(0));
    let begin = |start| Subscription::begin(Arc::clone(&view), visible.clone(), start);
    let mut slow = begin(Start::Now).unwrap();
    for epoch in 1..100u64 {
        writers[0].close(Epoch(epoch), vec![deltas(&view, &[(epoch as i32, 1, 1)])]).unwrap();
        announce.send(Epoch(epoch)).unwrap();
    }
    assert!(told(&mut slow).starts_with("Limit changes after epoch 0"));
    assert_eq!(begin(Start::After(Epoch(1))).unwrap_err().kind(), ErrorKind::Limit);
    assert!(begin(Start::After(view.history_start())).is_ok());
    let stream = begin(Start::Snapshot).unwrap();
    assert_eq!(subscription_schema(stream.schema()).columns.len(), 5);
    let mut rows = Box::pin(subscription_rows(stream, true));
    let mut count = 0;
    loop {
        let batch = rows.next().now_or_never().unwrap().unwrap().unwrap();
        if batch.column(1).null_count() == 1 {
            assert_eq!((batch.num_rows(), batch.column(0).as_primitive::<Int64Type>().value(0)), (1, 99));
            break;
        }
        count += batch.num_rows();
    }
    assert_eq!(count, 99);
}
