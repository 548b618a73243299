//! The same query as a batch query of DataFusion, as it comes, over the same files and schema.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use datafusion::physical_plan::{ExecutionPlanProperties, execute_stream_partitioned};
use datafusion::prelude::{JsonReadOptions, SessionConfig, SessionContext};
use futures::StreamExt;

use super::events::{Files, KINDS};
use super::queries::Query;
use super::{SIDE_INPUT, THREADS};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build().expect("a runtime")
}

async fn context(files: &Files) -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(THREADS);
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    // Literals such as 0.908 are numeric, as with us.
    config.options_mut().sql_parser.parse_float_as_decimal = true;
    let context = SessionContext::new_with_config(config);
    for kind in &KINDS {
        let schema = kind.schema();
        let options = JsonReadOptions::default().schema(&schema).file_extension(".ndjson");
        let folder = format!("{}/{}/", files.folder.display(), kind.name);
        context.register_json(kind.name, folder, options).await.expect("the files are there");
    }
    let side_input = format!("CREATE TABLE side_input AS {SIDE_INPUT}");
    context.sql(&side_input).await.expect("a table").collect().await.expect("it is filled");
    context
}

/// How long the query takes over all files.
pub fn time(query: &Query, theirs: &str, files: &Files) -> Duration {
    files.read_once(&query.kinds);
    let runtime = runtime();
    runtime.block_on(async {
        let context = context(files).await;
        let since = Instant::now();
        let frame = context.sql(theirs).await.expect("a query of theirs");
        if query.into_view {
            let batches = frame.collect().await.expect("it runs");
            let elapsed = since.elapsed();
            drop(batches);
            return elapsed;
        }
        let plan = frame.create_physical_plan().await.expect("a plan");
        assert!(plan.output_partitioning().partition_count() <= THREADS, "partitions");
        let streams = execute_stream_partitioned(Arc::clone(&plan), context.task_ctx()).expect("it runs");
        let tasks: Vec<_> = streams
            .into_iter()
            .map(|mut stream| {
                tokio::spawn(async move {
                    while let Some(batch) = stream.next().await {
                        drop(batch.expect("it runs"));
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("it runs");
        }
        since.elapsed()
    })
}

/// What the query gives.
pub fn contents(sql: &str, files: &Files) -> Vec<RecordBatch> {
    runtime().block_on(async {
        let context = context(files).await;
        context.sql(sql).await.expect("a query of theirs").collect().await.expect("it runs")
    })
}
