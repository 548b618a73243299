//! Queries run here: on threads of their own, within a memory limit of their own, ended by dropping their rows.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::apply::without_dependents;
use super::error::from_datafusion;
use super::lookup::{answer, snapshot_of};
use super::yielding::Yielding;
use crate::base::{Error, Result};
use crate::types::SqlType;

/// Rows as they become known; dropping it ends the query.
pub type RowStream = BoxStream<'static, Result<RecordBatch>>;

/// A plan over so many rows, and none from elsewhere, is run in one partition: starting more would take longer.
const SMALL_ROWS: usize = 65_536;

/// Batches that may wait for the client.
const WAITING_BATCHES: usize = 2;

/// What all queries together may take.
#[derive(Clone, Debug)]
pub struct QueryLimits {
    /// Threads that run queries.
    pub threads: usize,
    /// Bytes that sorts, groups and joins may hold (`query_memory_limit`).
    pub memory_bytes: usize,
}

/// Runs bound plans. One per engine.
pub struct QueryRunner {
    runtime: Option<Runtime>,
    small: Arc<SessionState>,
    large: Arc<SessionState>,
}

impl QueryRunner {
    /// Starts the threads. `state` makes a builder with the functions that queries may call; limits and parallelism
    /// are set here.
    pub fn start(limits: &QueryLimits, state: impl Fn() -> SessionStateBuilder) -> Result<QueryRunner> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(limits.threads.max(1))
            .thread_name("millstream-query")
            .enable_all()
            .build()
            .map_err(|error| Error::unavailable("threads for queries could not be started").caused_by(error))?;
        let environment = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(limits.memory_bytes)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()
            .map_err(from_datafusion)?;
        let with_partitions = |partitions: usize| {
            let mut builder = state();
            let config = builder.config().take().unwrap_or_default().with_target_partitions(partitions);
            let builder = builder.with_config(config).with_runtime_env(Arc::clone(&environment));
            Arc::new(builder.with_physical_optimizer_rule(Arc::new(Yielding)).build())
        };
        let (small, large) = (with_partitions(1), with_partitions(limits.threads.max(1)));
        Ok(QueryRunner { runtime: Some(runtime), small, large })
    }

    /// The session state that plans are made with; to bind statements with the same functions.
    pub fn session_state(&self) -> &SessionState {
        &self.small
    }

    /// Runs `plan`, whose scans are tables of a [`super::ReadSet`] (or other providers). Planning happens on the query
    /// threads too; its errors come as the first item. An error is the last item.
    pub fn run(&self, plan: LogicalPlan) -> RowStream {
        match answer(&plan) {
            Ok(None) => {}
            Ok(Some(rows)) => return futures::stream::iter((rows.num_rows() > 0).then_some(Ok(rows))).boxed(),
            Err(error) => return futures::stream::iter([Err(error)]).boxed(),
        }
        let Some(runtime) = &self.runtime else { return futures::stream::iter([Err(shutting_down())]).boxed() };
        let state = if is_small(&plan) { Arc::clone(&self.small) } else { Arc::clone(&self.large) };
        let (sender, receiver) = mpsc::channel(WAITING_BATCHES);
        let task = runtime.spawn(Box::pin(async move {
            if let Err(error) = send_rows(&state, plan, &sender).await {
                // Nobody listens any more: then the query was cancelled.
                let _ = sender.send(Err(error)).await;
            }
        }));
        let rows = Running { receiver, task: Some(Ending(task)) };
        futures::stream::unfold(rows, |mut rows| async move { rows.next().await.map(|item| (item, rows)) }).boxed()
    }

    /// Tasks under way.
    #[cfg(test)]
    pub(super) fn tasks(&self) -> usize {
        self.runtime.as_ref().map_or(0, |runtime| runtime.metrics().num_alive_tasks())
    }

    /// The physical plan of `plan`, as EXPLAIN shows it.
    pub async fn explain(&self, plan: LogicalPlan) -> Result<String> {
        let state = if is_small(&plan) { &self.small } else { &self.large };
        let plan = without_dependents(plan, state).map_err(from_datafusion)?;
        let plan = state.create_physical_plan(&plan).await.map_err(from_datafusion)?;
        Ok(datafusion::physical_plan::displayable(&*plan).indent(false).to_string())
    }
}

impl Drop for QueryRunner {
    fn drop(&mut self) {
        // Dropping a runtime inside another one's thread is refused by tokio; this way is always allowed.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn send_rows(
    state: &Arc<SessionState>,
    plan: LogicalPlan,
    sender: &mpsc::Sender<Result<RecordBatch>>,
) -> Result<()> {
    let plan = without_dependents(plan, state).map_err(from_datafusion)?;
    let physical = state.create_physical_plan(&plan).await.map_err(from_datafusion)?;
    let mut rows = execute_stream(physical, state.task_ctx()).map_err(from_datafusion)?;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(from_datafusion)?;
        if batch.num_rows() > 0 && sender.send(exact(batch)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// `batch` in the Arrow types of our SQL types: DataFusion's own functions also give unsigned numbers (`rank`), views
/// and dictionaries.
fn exact(batch: RecordBatch) -> Result<RecordBatch> {
    let schema = batch.schema();
    let mut fields = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let ty = SqlType::from_arrow(field.data_type())?.arrow();
        fields.push(Field::new(field.name(), ty, true));
    }
    if fields.iter().zip(schema.fields()).all(|(exact, given)| exact.data_type() == given.data_type()) {
        return Ok(batch);
    }
    let columns = batch.columns().iter().zip(&fields);
    let columns = columns.map(|(column, field)| cast(column, field.data_type())).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

/// Whether all scans are of snapshots, and few rows in all.
fn is_small(plan: &LogicalPlan) -> bool {
    let mut rows = 0usize;
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            rows = rows.saturating_add(snapshot_of(scan).map_or(usize::MAX, |snapshot| snapshot.rows()));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.is_ok() && rows <= SMALL_ROWS
}

/// A query under way: its rows, and its task, which ends with it.
struct Running {
    receiver: mpsc::Receiver<Result<RecordBatch>>,
    task: Option<Ending>,
}

/// Ends the task when dropped.
struct Ending(JoinHandle<()>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Running {
    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        let mut task = match self.receiver.recv().await {
            Some(Err(error)) => {
                self.task = None;
                self.receiver.close();
                return Some(Err(error));
            }
            Some(rows) => return Some(rows),
            None => self.task.take()?,
        };
        // The rows end; only the task knows whether because they are complete.
        match (&mut task.0).await {
            Ok(()) => None,
            Err(error) if error.is_panic() => {
                Some(Err(Error::internal("query stopped: it broke an assumption of the engine")
                    .with_detail("The log names the place.")
                    .with_hint("Report it with the query.")))
            }
            Err(_) => Some(Err(shutting_down())),
        }
    }
}

fn shutting_down() -> Error {
    Error::unavailable("query stopped: the server is shutting down").with_code(crate::base::sqlstate::ADMIN_SHUTDOWN)
}
