//! SELECT: bound, granted an epoch at which everything it names can be read, run on the query threads.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::StreamExt;

use crate::base::{Error, Result};
use crate::catalog::{Catalog, Relation, RelationKind, schemas};
use crate::functions::{at_clock, error_from_datafusion};
use crate::plan::{for_batch, index_for};
use crate::serving::{RowStream, Rows, rows_table, stream_table};
use crate::sql::{BindMode, Binder, BoundQuery, Query, Show, Statement as Sql};
use crate::sql::{Facts, catalog_rows};
use crate::types::{Epoch, JobId, RelationId, Schema, SqlType, Told};

use super::super::api::{CancelToken, Outcome, Prepared, Tag};
use super::super::handle::Handle;
use super::super::request::{ReadGrant, Request};
use super::super::sources::read_bounded;
use super::Work;

/// What a statement's parameters and rows are, without running it.
pub(super) fn prepare(
    handle: &Handle,
    catalog: &Catalog,
    statement: &Sql,
    given: &[Option<SqlType>],
) -> Result<Prepared> {
    let (binder, text) = (Binder::new(catalog, handle.queries.session_state()), super::show::text);
    let change = |rows: BoundQuery, back: Option<BoundQuery>| (rows.parameters, back.map(|back| back.schema));
    let (parameters, columns) = match statement {
        Sql::Query(query) => return Ok(prepared(binder.query(query, BindMode::Read, given)?)),
        Sql::Insert(insert) => {
            let bound = binder.insert(insert, given)?;
            change(bound.rows, bound.returning)
        }
        Sql::Update(update) => {
            let bound = binder.update(update, given)?;
            change(bound.rows, bound.returning)
        }
        Sql::Delete(delete) => {
            let bound = binder.delete(delete, given)?;
            change(bound.rows, bound.returning)
        }
        Sql::Subscribe(one) => {
            let relation = catalog.resolve(one.relation.schema.as_deref(), &one.relation.name)?;
            (Vec::new(), Some(crate::serving::subscription_schema(&relation.columns)))
        }
        Sql::Explain(_) => (Vec::new(), Some(text(&["QUERY PLAN"]))),
        Sql::Show(Show::Setting(name)) => (Vec::new(), Some(text(&[name]))),
        Sql::Show(show) => (Vec::new(), Some(super::show::show_schema(show))),
        Sql::Describe(_) => (Vec::new(), Some(super::show::describe_schema())),
        Sql::Empty
        | Sql::CreateSource(_)
        | Sql::CreateTable(_)
        | Sql::CreateView(_)
        | Sql::CreateMaterializedView(_)
        | Sql::CreateSink(_)
        | Sql::CreateIndex(_)
        | Sql::CreateFunction(_)
        | Sql::CreateSchema(_)
        | Sql::DropSchema(_)
        | Sql::Rename(_)
        | Sql::Comment(_)
        | Sql::Access(_)
        | Sql::Drop(_)
        | Sql::Copy(_)
        | Sql::CopyIn(_)
        | Sql::Copied(_)
        | Sql::Prepare(_)
        | Sql::Execute(_)
        | Sql::Declare(_)
        | Sql::Fetch(_)
        | Sql::Close(_)
        | Sql::Savepoint(_)
        | Sql::RollbackTo(_)
        | Sql::Release(_)
        | Sql::Unlisten
        | Sql::Flush
        | Sql::WaitFor(_)
        | Sql::Refresh(_)
        | Sql::Set(_)
        | Sql::Reset(_)
        | Sql::Begin
        | Sql::Commit
        | Sql::Rollback
        | Sql::Discard
        | Sql::Deallocate(_) => (Vec::new(), None),
    };
    Ok(Prepared { parameters, columns, told: Told::new() })
}

fn prepared(bound: BoundQuery) -> Prepared {
    Prepared { parameters: bound.parameters, told: bound.parameters_told, columns: Some(bound.schema) }
}

/// The rows of `outcome` end with an error once `cancel` says so. `held` is dropped with them.
pub(super) fn cancellable(outcome: Outcome, cancel: CancelToken, held: impl Send + 'static) -> Outcome {
    let guard = |rows: RowStream| -> RowStream {
        let state = Some((rows, cancel, held));
        futures::stream::unfold(state, |state| async move {
            let (mut rows, cancel, held) = state?;
            let next = tokio::select! {
                biased;
                reason = cancel.cancelled() => return Some((Err(reason.error()), None)),
                next = rows.next() => next?,
            };
            Some((next, Some((rows, cancel, held))))
        })
        .boxed()
    };
    match outcome {
        Outcome::Rows { schema, rows, follows, tag, notices } => {
            Outcome::Rows { schema, rows: guard(rows), follows, tag, notices }
        }
        Outcome::CopyOut { schema, rows, follows, format } => {
            Outcome::CopyOut { schema, rows: guard(rows), follows, format }
        }
        other @ (Outcome::CopyIn { .. } | Outcome::Done { .. }) => other,
    }
}

impl Work<'_> {
    /// SELECT.
    pub(super) async fn query(&mut self, query: &Query) -> Result<Outcome> {
        let (schema, rows) = self.select(query).await?;
        let notices = std::mem::take(&mut self.notices);
        Ok(Outcome::Rows { schema, rows, follows: false, tag: Tag::Counted("SELECT"), notices })
    }

    /// COPY (...) TO STDOUT.
    pub(super) async fn copy(&mut self, copy: &crate::sql::Copy) -> Result<Outcome> {
        let format = super::copy::format_of(&copy.options);
        let (follows, (schema, rows)) = match &copy.from {
            crate::sql::CopyFrom::Query(query) => (false, self.select(query).await?),
            crate::sql::CopyFrom::Subscribe(subscribe) => {
                self.permit(&Sql::Subscribe(subscribe.clone()))?;
                (true, self.changes(subscribe).await?)
            }
        };
        Ok(Outcome::CopyOut { schema, rows, follows, format })
    }

    async fn select(&mut self, query: &Query) -> Result<(Schema, RowStream)> {
        let catalog = self.catalog();
        let (given, facts) = (self.parameter_types()?, self.facts());
        let binder = Binder::new(&catalog, self.handle.queries.session_state()).with_facts(Arc::clone(&facts));
        let bound = binder.query(query, BindMode::Read, &given)?.with_parameters(self.parameters)?;
        self.permit_reads(&bound)?;
        if bound.asks_sizes {
            let bytes = self.bytes(&catalog).await?;
            facts.bytes.get_or_init(|| bytes);
        }
        let schema = bound.schema.clone();
        let own = self.own_rows(&bound).await?;
        Ok((schema, self.rows(bound, own).await?))
    }

    /// A binder over `catalog` that sees what this session sees.
    pub(super) fn binder<'c>(&'c self, catalog: &'c Catalog) -> Binder<'c> {
        Binder::new(catalog, self.handle.queries.session_state()).with_facts(self.facts())
    }

    /// The present rows of a system view, ours or PostgreSQL's.
    async fn system_rows(&self, relation: &Relation) -> Result<RecordBatch> {
        if relation.schema_name != schemas::CATALOG {
            return catalog_rows(relation, &self.facts());
        }
        let name = relation.name.clone();
        self.ask(|reply| Request::SystemView { name, reply }).await
    }

    /// Bytes of state by the relation whose job keeps it.
    async fn bytes(&self, catalog: &Catalog) -> Result<BTreeMap<RelationId, u64>> {
        let rows = self.ask(|reply| Request::SystemView { name: "ms_operators".to_string(), reply }).await?;
        let column = |name: &str| rows.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
        let (Some(jobs), Some(bytes)) = (column("job_id"), column("state_bytes")) else { return Ok(BTreeMap::new()) };
        let mut found = BTreeMap::new();
        for (job, bytes) in jobs.values().iter().zip(bytes.values()) {
            let job = u64::try_from(*job).map(JobId).ok().and_then(|job| catalog.by_job(job));
            if let Some(relation) = job {
                *found.entry(relation.id).or_default() += u64::try_from(*bytes).unwrap_or_default();
            }
        }
        Ok(found)
    }

    /// What this session sees when it asks for the catalog.
    fn facts(&self) -> Arc<Facts> {
        Arc::new(Facts {
            catalog: Catalog::clone(&self.catalog()),
            settings: self.settings.clone(),
            process: self.process,
            sessions: self.handle.sessions.lock().values().cloned().collect(),
            started_us: self.handle.started_us,
            functions: Arc::clone(&self.handle.functions),
            bytes: OnceLock::new(),
            wishes: Arc::clone(self.wishes),
            identity: self.identity.clone(),
        })
    }

    /// The types of the parameters that came with the statement.
    pub(super) fn parameter_types(&self) -> Result<Vec<Option<SqlType>>> {
        let ty = |array: &arrow::array::ArrayRef| match array.data_type() {
            // Text may stand for any type: what the statement says counts.
            arrow::datatypes::DataType::Utf8 => Ok(None),
            other => SqlType::from_arrow(other).map(Some),
        };
        self.parameters.iter().map(ty).collect()
    }

    /// Runs a bound query; `own` stands for the contents of relations.
    pub(super) async fn rows(&mut self, bound: BoundQuery, own: Vec<(RelationId, RecordBatch)>) -> Result<RowStream> {
        let (mut published, mut given) = (Vec::new(), BTreeMap::new());
        let indexed = self.indexes_for(&bound, &own);
        for relation in &bound.relations {
            match relation.kind {
                RelationKind::Table
                | RelationKind::MaterializedView
                | RelationKind::Late(_)
                | RelationKind::Faults(_) => {
                    let read = indexed.get(&relation.id).copied().unwrap_or(relation.id);
                    published.push(read);
                }
                RelationKind::System => {
                    let rows = self.system_rows(relation).await?;
                    given.insert(relation.id, rows);
                }
                RelationKind::Source
                | RelationKind::View
                | RelationKind::Sink
                | RelationKind::Index(_)
                | RelationKind::Function => {}
            }
        }
        given.extend(own);
        published.retain(|relation| !given.contains_key(relation));
        let (set, plan) = if published.is_empty() {
            (None, bound.plan)
        } else {
            let epoch = self.read_epoch();
            let grant = self.grant(&published, epoch).await?;
            (Some(grant.set), bound.plan)
        };
        let plan = at_clock(plan, self.handle.shared.clock.now_us()).map_err(error_from_datafusion)?;
        let plan = for_batch(plan, &mut |relation: &Arc<Relation>| {
            if let Some(rows) = given.get(&relation.id) {
                return rows_table(rows.clone());
            }
            match (relation.kind, &set) {
                (RelationKind::Source, _) => {
                    let reader = self.bounded(relation)?;
                    stream_table(&relation.columns, reader)
                }
                (_, Some(set)) => set.table(indexed.get(&relation.id).copied().unwrap_or(relation.id)),
                (_, None) => Err(Error::internal(format!("{} is read without an epoch", relation.title()))),
            }
        })?;
        Ok(self.handle.queries.run(plan))
    }

    /// Which indexes are read in the place of relations that have their rows found by them.
    pub(super) fn indexes_for(
        &self,
        bound: &BoundQuery,
        own: &[(RelationId, RecordBatch)],
    ) -> BTreeMap<RelationId, RelationId> {
        let catalog = self.catalog();
        let mut found = BTreeMap::new();
        for relation in &bound.relations {
            if own.iter().any(|(id, _)| *id == relation.id) {
                continue;
            }
            let belongings = catalog.belongings(relation.id).into_iter();
            let indexes = belongings.filter(|belonging| matches!(belonging.kind, RelationKind::Index(_)));
            let indexes: Vec<Arc<Relation>> = indexes.collect();
            found.extend(index_for(&bound.plan, relation, &indexes).map(|index| (relation.id, index)));
        }
        found
    }

    /// Reads the source `relation` whole, once per call.
    pub(super) fn bounded(&self, relation: &Relation) -> Result<impl Fn() -> Result<Rows> + Send + Sync + use<>> {
        let catalog = self.catalog();
        read_bounded(relation, &self.handle.shared.settings, &self.handle.shared.secrets(&catalog))
    }

    /// The epoch below which this statement does not read.
    fn read_epoch(&self) -> Epoch {
        let block = self.inner.transaction.as_ref().and_then(|transaction| transaction.epoch);
        block.unwrap_or(self.inner.least)
    }

    /// Waits until `relations` can be read together at `least` or later.
    pub(super) async fn grant(&mut self, relations: &[RelationId], least: Epoch) -> Result<ReadGrant> {
        let (relations, deadline) = (relations.to_vec(), self.read_deadline());
        let least = least.max(self.inner.least);
        let grant = self.ask(|reply| Request::Read { relations, least, deadline, reply }).await?;
        self.inner.least = self.inner.least.max(grant.epoch);
        if let Some(transaction) = &mut self.inner.transaction {
            transaction.epoch.get_or_insert(grant.epoch);
        }
        Ok(grant)
    }
}
