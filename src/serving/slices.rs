//! The probed side of a nested loop join, in slices that take a moment each. DataFusion joins a whole batch with all that the
//! join holds before it looks up again, and where nothing matches it gives no row meanwhile: millions of held rows would
//! keep the thread for minutes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{Stream, StreamExt, ready};

/// What the join is to spend on one slice: enough to be worth its fixed costs, little to whoever waits.
const TURN: Duration = Duration::from_millis(10);

/// Hands on its input in slices.
#[derive(Debug)]
pub(super) struct Sliced(pub Arc<dyn ExecutionPlan>);

impl DisplayAs for Sliced {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sliced")
    }
}

impl ExecutionPlan for Sliced {
    fn name(&self) -> &'static str {
        "Sliced"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.0.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.0]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Sliced(children.swap_remove(0))))
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Sliced(children.swap_remove(0))))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let slices =
            Slices { input: self.0.execute(partition, context)?, rest: None, rows: 1, handed: None, turn: None };
        Ok(Box::pin(slices))
    }
}

struct Slices {
    input: SendableRecordBatchStream,
    /// What has not been handed on of the last batch.
    rest: Option<RecordBatch>,
    /// The length of a slice.
    rows: usize,
    /// When the last slice was handed on.
    handed: Option<Instant>,
    /// Since when the task has not given way.
    turn: Option<Instant>,
}

impl Slices {
    /// The next slice, in the length that would have taken one turn.
    fn slice(&mut self, batch: RecordBatch) -> RecordBatch {
        let rows = self.rows.min(batch.num_rows());
        if rows < batch.num_rows() {
            self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
        }
        self.handed = Some(Instant::now());
        batch.slice(0, rows)
    }

    /// Whether the task has been at it for a turn; the length of slices follows what the last one took.
    fn is_over(&mut self) -> bool {
        let now = Instant::now();
        if let Some(took) = self.handed.take().map(|handed| now - handed) {
            self.rows = match took > TURN {
                true => (self.rows / 2).max(1),
                false if took < TURN / 4 => self.rows.saturating_mul(2),
                false => self.rows,
            };
        }
        let over = now - *self.turn.get_or_insert(now) > TURN;
        if over {
            self.turn = None;
        }
        over
    }
}

impl Stream for Slices {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let batch = match self.rest.take() {
            Some(rest) => rest,
            None => match ready!(self.input.poll_next_unpin(context)) {
                Some(Ok(batch)) => batch,
                end => return Poll::Ready(end),
            },
        };
        Poll::Ready(Some(Ok(self.slice(batch))))
    }
}

impl RecordBatchStream for Slices {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}
