//! The batch side: DataFusion over the test's own copy of the tables, with our binder and functions.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::collect;
use millstream::catalog::{Catalog, Relation, RelationKind};
use millstream::functions::{at_clock, session_config, session_state_builder, write_value};
use millstream::plan::for_batch;
use millstream::sql::{BindMode, Binder, Statement, parse};
use millstream::types::{Schema, SqlType};

use super::called::FUNCTIONS;
use super::query::View;
use super::tables::Table;

/// Rows as text, sorted.
pub type Rows = Vec<Vec<String>>;

/// The views' plans, over relations whose contents are given anew for every epoch.
pub struct Oracle {
    state: SessionState,
    plans: Vec<(LogicalPlan, Schema)>,
}

impl Oracle {
    pub fn new(tables: &[Table], views: &[View]) -> Oracle {
        let state = session_state_builder().with_config(session_config().with_target_partitions(1)).build();
        let mut catalog = Catalog::new();
        for table in tables {
            let mut relation =
                Relation::new(catalog.allocate_relation(), table.name, RelationKind::Table, table.schema());
            relation.primary_key = table.key.clone();
            relation.sql = table.create_sql();
            catalog.create(relation).unwrap();
        }
        for (signature, sql) in FUNCTIONS {
            let id = catalog.allocate_relation();
            let mut function = Relation::new(id, signature, RelationKind::Function, Schema::default());
            function.sql = sql.to_string();
            catalog.create(function).unwrap();
        }
        let mut plans = Vec::new();
        for view in views {
            let parsed = parse(&view.sql).unwrap_or_else(|error| panic!("{}\n{}", view.sql, error.report()));
            let Statement::CreateMaterializedView(created) = parsed.into_iter().next().unwrap().statement else {
                panic!("not a materialized view: {}", view.sql)
            };
            let bound = Binder::new(&catalog, &state).view(&created.query, &created.columns, BindMode::Stored);
            let bound = bound.unwrap_or_else(|error| panic!("{}\n{}", view.sql, error.report()));
            let kind = RelationKind::MaterializedView;
            let id = catalog.allocate_relation();
            catalog.create(Relation::new(id, &view.name, kind, bound.schema.clone())).unwrap();
            plans.push((bound.plan, bound.schema));
        }
        Oracle { state, plans }
    }

    /// Every view's contents at a reading of the clock, in the order of the views.
    pub async fn answer(&self, tables: &[Table], views: &[View], clock_us: i64) -> Vec<Rows> {
        let mut contents: Vec<(String, Arc<dyn TableProvider>)> = Vec::new();
        for table in tables {
            contents.push((table.name.to_string(), provider(&table.schema(), vec![table.batch()])));
        }
        let mut answers = Vec::new();
        for (view, (plan, schema)) in views.iter().zip(&self.plans) {
            let plan = at_clock(plan.clone(), clock_us).unwrap();
            let plan = for_batch(plan, &mut |relation| {
                let found = contents.iter().find(|(name, _)| *name == relation.name);
                Ok(Arc::clone(&found.expect("created before").1))
            });
            let physical = self.state.create_physical_plan(&plan.unwrap()).await;
            let physical = physical.unwrap_or_else(|error| panic!("{}\n{error}", view.sql));
            let batches = collect(physical, self.state.task_ctx()).await;
            let batches = batches.unwrap_or_else(|error| panic!("{}\n{error}", view.sql));
            let batches: Vec<RecordBatch> = batches.iter().map(|batch| of_schema(batch, schema)).collect();
            let mut rows: Rows = batches.iter().flat_map(|batch| texts(batch, schema)).collect();
            rows.sort();
            answers.push(rows);
            contents.push((view.name.clone(), provider(schema, batches)));
        }
        answers
    }
}

fn provider(schema: &Schema, batches: Vec<RecordBatch>) -> Arc<dyn TableProvider> {
    Arc::new(MemTable::try_new(schema.arrow(), vec![batches]).unwrap())
}

fn of_schema(batch: &RecordBatch, schema: &Schema) -> RecordBatch {
    let arrow = schema.arrow();
    let columns = batch.columns().iter().zip(arrow.fields());
    let columns = columns.map(|(column, field)| cast(column, field.data_type()).unwrap()).collect();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(arrow, columns, &options).unwrap()
}

/// The rows as a client of the wire sees them.
fn texts(batch: &RecordBatch, schema: &Schema) -> Rows {
    let cell = |row: usize, column: usize| {
        let array = batch.column(column);
        if array.is_null(row) {
            return "NULL".to_string();
        }
        let mut text = String::new();
        write_value(array, row, &mut text).unwrap();
        match schema.columns[column].ty == SqlType::Boolean {
            true => text[..1].to_string(),
            false => text,
        }
    };
    (0..batch.num_rows()).map(|row| (0..batch.num_columns()).map(|column| cell(row, column)).collect()).collect()
}
