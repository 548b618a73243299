//! Authoring: what a CREATE statement makes of the catalog: names bound, graphs planned. Touches nothing, so that
//! statements, EXPLAIN and `millstream check` share it.

mod function;
mod index;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::{Error, Result, Settings, sqlstate};
use crate::catalog::{Catalog, Relation, RelationKind, RelationWatermark, Rights, schemas};
use crate::dataflow::source::source_fault_schema;
use crate::dataflow::{Graph, NodeKind};
use crate::plan::{
    EmitMode, KeepLimits, PlannedView, Target, ViewRequest, explain, plan_kept, plan_sink, plan_table, plan_view,
    stamped,
};
use crate::serving::QueryRunner;
use crate::sql::{
    self, BindMode, Binder, BoundQuery, CreateRelation, CreateSink, CreateView, EmitClause, Name, ObjectKind,
    RelationDefinition, SinkConnector, SinkFrom, SinkOptions, SourceConnector, SourceOptions, Statement as Sql, Use,
};
use crate::types::{JobId, RelationId, Schema};

use super::api::Notice;
use super::ddl::Ddl;
use super::files::Files;
use super::secrets::{Revealed, Secrets, fill_sink, fill_source};
use super::sources::{check_columns, check_source};

/// Gives numbers that name nothing.
pub(super) trait Numbers {
    /// For a relation.
    fn relation(&self) -> RelationId;
    /// For a job.
    fn job(&self) -> JobId;
}

/// Makes relations out of CREATE statements.
pub(super) struct Author<'a> {
    /// The catalog in which names are looked up.
    pub catalog: &'a Catalog,
    /// Holds our functions.
    pub queries: &'a QueryRunner,
    /// Limits of what is kept.
    pub settings: &'a Settings,
    /// Where numbers come from.
    pub numbers: &'a dyn Numbers,
    /// The statement as it was written.
    pub text: &'a str,
    /// The role to which what it makes belongs.
    pub owner: &'a str,
    /// Whether files may be opened (to infer columns).
    pub may_open: bool,
    /// The files that may be named.
    pub files: Files,
    /// The secrets that options may name.
    pub secrets: &'a dyn Secrets,
}

/// What a statement makes.
pub(super) struct Authored {
    /// The change of the catalog.
    pub ddl: Ddl,
    /// What EXPLAIN prints of it; empty if it has no plan.
    pub explain: String,
    /// What the user should know of it.
    pub notices: Vec<Notice>,
    /// What its query uses.
    pub uses: Vec<Use>,
}

impl Authored {
    fn new(ddl: Ddl, explain: String) -> Authored {
        Authored { ddl, explain, notices: Vec::new(), uses: Vec::new() }
    }

    /// With what its plan gives notice of.
    fn planned(ddl: Ddl, planned: &PlannedView) -> Authored {
        let notices = planned.notices.iter().map(Notice::new).collect();
        Authored { ddl, explain: explain(planned), notices, uses: Vec::new() }
    }

    /// With what its query uses.
    fn using(mut self, query: &BoundQuery) -> Authored {
        self.uses.clone_from(&query.uses);
        self
    }

    /// With a notice if `query` has an order that a stored relation does not keep.
    fn unordered(mut self, query: &BoundQuery) -> Authored {
        if query.unordered {
            let notice = Notice::new("the order of ORDER BY is not kept");
            self.notices
                .push(notice.with_hint("Write ORDER BY in the SELECT that reads the view, or LIMIT behind it here."));
        }
        self
    }
}

impl Author<'_> {
    /// What `statement`, a CREATE, makes.
    pub fn statement(&self, statement: &Sql) -> Result<Authored> {
        match statement {
            Sql::CreateSource(create) => self.source(create),
            Sql::CreateTable(create) => self.table(create),
            Sql::CreateView(create) => self.view(create),
            Sql::CreateMaterializedView(create) => self.materialized_view(create),
            Sql::CreateSink(create) => self.sink(create),
            Sql::CreateIndex(create) => self.index(create),
            Sql::CreateFunction(create) => self.function(create),
            _ => Err(Error::internal("statement creates nothing")),
        }
    }

    fn binder(&self) -> Binder<'_> {
        Binder::new(self.catalog, self.queries.session_state())
    }

    /// A relation of this statement, with nothing but its columns.
    fn relation(&self, id: RelationId, name: &Name, kind: RelationKind, columns: Schema) -> Result<Relation> {
        let schema =
            self.catalog.schema_to_create_in(name.schema.as_deref()).map_err(|error| error.at(name.position))?;
        if let Some(found) = self.catalog.find(Some(&schema), &name.name).filter(|found| found.id != id) {
            return Err(Error::invalid(format!("{} already exists", found.title()))
                .with_code(sqlstate::DUPLICATE_TABLE)
                .with_hint("Choose another name, drop it first, or write IF NOT EXISTS.")
                .at(name.position));
        }
        let mut relation = Relation::new(id, &name.name, kind, columns);
        relation.schema_name = schema;
        relation.rights = Rights::of(self.owner);
        relation.sql = self.text.to_string();
        if self.catalog.path() != [schemas::PUBLIC] {
            relation.search_path = self.catalog.path().to_vec();
        }
        Ok(relation)
    }

    fn keep(&self) -> KeepLimits {
        KeepLimits { rows_max: self.settings.faults_keep as u64, bytes_max: self.settings.faults_keep_bytes.0 }
    }

    /// CREATE SOURCE: the source, and the job that keeps its undecodable records.
    fn source(&self, create: &CreateRelation) -> Result<Authored> {
        let (create, revealed) = fill_source(create, self.secrets)?;
        revealed.guard(self.filled_source(&create, &revealed))
    }

    fn filled_source(&self, create: &CreateRelation, revealed: &Revealed) -> Result<Authored> {
        let options = sql::source_options(create)?;
        if let SourceConnector::File { path, .. } = &options.connector {
            self.files.permit(path).map_err(|error| error.at(create.options.position("path")))?;
        }
        check_source(&options).map_err(|error| error.at(create.name.position))?;
        let unnamed = create.columns.iter().all(|column| column.generated.is_some());
        let inferred = match unnamed {
            true if self.may_open || !reads_files(&options) => {
                Some(super::sources::infer(&options, self.settings).map_err(|error| error.at(create.name.position))?)
            }
            true => {
                return Err(Error::unsupported("the columns of a source cannot be inferred without opening its files")
                    .with_hint("List the columns with their types.")
                    .at(create.name.position));
            }
            false => None,
        };
        let bound = self.binder().definition(create, ObjectKind::Source, inferred.as_ref())?;
        let id = self.numbers.relation();
        let mut source = self.relation(id, &create.name, RelationKind::Source, bound.schema.clone())?;
        source.append_only = true;
        source.secrets.extend(revealed.names());
        fill(&mut source, &bound)?;
        check_columns(&options, &source, self.settings).map_err(|error| error.at(create.name.position))?;
        let schema = source_fault_schema();
        let id = self.numbers.relation();
        let mut faults = Relation::new(id, source.path(), RelationKind::Faults(source.id), schema.clone());
        faults.job = Some(self.numbers.job());
        faults.graph = Some(graph_text(&plan_kept(id, &schema, self.keep())?)?);
        Ok(Authored::new(Ddl::Create(vec![source, faults]), String::new()))
    }

    /// CREATE TABLE: the table and its job.
    fn table(&self, create: &CreateRelation) -> Result<Authored> {
        sql::table_options(create)?;
        let bound = self.binder().definition(create, ObjectKind::Table, None)?;
        let id = self.numbers.relation();
        let mut table = self.relation(id, &create.name, RelationKind::Table, bound.schema.clone())?;
        fill(&mut table, &bound)?;
        table.job = Some(self.numbers.job());
        table.graph = Some(graph_text(&plan_table(&table)?)?);
        Ok(Authored::new(Ddl::Create(vec![table]), String::new()))
    }

    /// CREATE [OR REPLACE] VIEW.
    fn view(&self, create: &CreateView) -> Result<Authored> {
        if let EmitClause::WindowClose { position } = create.emit {
            return Err(Error::unsupported("EMIT ON WINDOW CLOSE is for materialized views")
                .with_hint("Write it in the materialized view that reads this view.")
                .at(position));
        }
        let bound = self.binder().view(&create.query, &create.columns, BindMode::Read)?;
        let schema = self.catalog.schema_to_create_in(create.name.schema.as_deref())?;
        let replaced = self.catalog.find(Some(&schema), &create.name.name).filter(|_| create.or_replace);
        let id = match &replaced {
            Some(old) => {
                old.require(RelationKind::View).map_err(|error| error.at(create.name.position))?;
                check_view_columns(&old.columns, &bound.schema).map_err(|error| error.at(create.name.position))?;
                self.check_replaced(old, create.name.position)?;
                old.id
            }
            None => self.numbers.relation(),
        };
        let mut view = self.relation(id, &create.name, RelationKind::View, bound.schema.clone())?;
        view.depends_on = created_by_users(&bound.relations);
        let ddl = if replaced.is_some() { Ddl::Replace(Box::new(view)) } else { Ddl::Create(vec![view]) };
        Ok(Authored::new(ddl, String::new()))
    }

    /// CREATE MATERIALIZED VIEW: the view, its late rows and faults, and the job that keeps them.
    fn materialized_view(&self, create: &CreateView) -> Result<Authored> {
        sql::view_options(&create.options)?;
        let bound = self.binder().view(&create.query, &create.columns, BindMode::Stored)?;
        let (id, late, faults) = (self.numbers.relation(), self.numbers.relation(), self.numbers.relation());
        let mut view = self.relation(id, &create.name, RelationKind::MaterializedView, bound.schema.clone())?;
        let request = ViewRequest {
            plan: &bound.plan,
            schema: &bound.schema,
            emit: emit_mode(create.emit),
            target: Target::View(id),
            late: Some(late),
            faults: Some(faults),
            keep: self.keep(),
        };
        let planned = plan_view(&request, self.queries.session_state())?;
        view.depends_on = created_by_users(&bound.relations);
        view.primary_key.clone_from(&planned.key);
        let relations = self.with_side_outputs(view, &planned, Some(late), Some(faults))?;
        Ok(Authored::planned(Ddl::Create(relations), &planned).unordered(&bound).using(&bound))
    }

    /// CREATE SINK: the sink and its job.
    fn sink(&self, create: &CreateSink) -> Result<Authored> {
        let (create, revealed) = fill_sink(create, self.secrets)?;
        revealed.guard(self.filled_sink(&create, &revealed))
    }

    fn filled_sink(&self, create: &CreateSink, revealed: &Revealed) -> Result<Authored> {
        let options = sql::sink_options(create)?;
        if let SinkConnector::File { path, .. } = &options.connector {
            self.files.permit_folder(path).map_err(|error| error.at(create.options.position("path")))?;
        }
        match &create.from {
            SinkFrom::Relation(name) => {
                let found = self.catalog.resolve(name.schema.as_deref(), &name.name);
                let from = found.map_err(|error| error.at(name.position))?;
                if let Some(plan) = stamped(&from)? {
                    let inputs = BTreeSet::from([from.id]);
                    let request = ViewRequest {
                        plan: &plan,
                        schema: &from.columns,
                        emit: EmitMode::Changes,
                        target: Target::Sink(self.numbers.relation()),
                        late: Some(self.numbers.relation()),
                        faults: Some(self.numbers.relation()),
                        keep: self.keep(),
                    };
                    let mut authored = self.planned_sink((create, &options), revealed, &request, inputs)?;
                    authored.uses.push(Use { relation: from, inside: None });
                    return Ok(authored);
                }
                let id = self.numbers.relation();
                let mut graph = plan_sink(&from, id).map_err(|error| error.at(name.position))?;
                leave_out_contents(&mut graph, &options);
                check_changes(create, &options, from.append_only)?;
                let mut sink = self.relation(id, &create.name, RelationKind::Sink, from.columns.clone())?;
                sink.depends_on = BTreeSet::from([from.id]);
                sink.secrets.extend(revealed.names());
                sink.append_only = from.append_only;
                sink.job = Some(self.numbers.job());
                let explain = graph.to_string();
                sink.graph = Some(graph_text(&graph)?);
                let mut authored = Authored::new(Ddl::Create(vec![sink]), explain);
                authored.uses.push(Use { relation: from, inside: None });
                Ok(authored)
            }
            SinkFrom::Query { query, emit } => {
                let bound = self.binder().view(query, &[], BindMode::Stored)?;
                let inputs = created_by_users(&bound.relations);
                let request = ViewRequest {
                    plan: &bound.plan,
                    schema: &bound.schema,
                    emit: emit_mode(*emit),
                    target: Target::Sink(self.numbers.relation()),
                    late: Some(self.numbers.relation()),
                    faults: Some(self.numbers.relation()),
                    keep: self.keep(),
                };
                let authored = self.planned_sink((create, &options), revealed, &request, inputs)?;
                Ok(authored.unordered(&bound).using(&bound))
            }
        }
    }

    /// A sink of a query's answer.
    fn planned_sink(
        &self,
        (create, options): (&CreateSink, &SinkOptions),
        revealed: &Revealed,
        request: &ViewRequest<'_>,
        inputs: BTreeSet<RelationId>,
    ) -> Result<Authored> {
        let (Target::View(id) | Target::Sink(id)) = request.target;
        let mut planned = plan_view(request, self.queries.session_state())?;
        leave_out_contents(&mut planned.graph, options);
        check_changes(create, options, planned.append_only)?;
        let mut sink = self.relation(id, &create.name, RelationKind::Sink, request.schema.clone())?;
        sink.depends_on = inputs;
        sink.secrets.extend(revealed.names());
        let relations = self.with_side_outputs(sink, &planned, request.late, request.faults)?;
        Ok(Authored::planned(Ddl::Create(relations), &planned))
    }

    /// `main` with its graph, then the relations of its late rows and faults.
    fn with_side_outputs(
        &self,
        mut main: Relation,
        planned: &PlannedView,
        late: Option<RelationId>,
        faults: Option<RelationId>,
    ) -> Result<Vec<Relation>> {
        main.append_only = planned.append_only;
        main.job = Some(self.numbers.job());
        main.graph = Some(graph_text(&planned.graph)?);
        let (id, name) = (main.id, main.path());
        let mut relations = vec![main];
        if let (Some(late), Some(schema)) = (late, &planned.late) {
            relations.push(Relation::new(late, &name, RelationKind::Late(id), schema.clone()));
        }
        if let (Some(faults), Some(schema)) = (faults, &planned.faults) {
            relations.push(Relation::new(faults, &name, RelationKind::Faults(id), schema.clone()));
        }
        Ok(relations)
    }
}

/// With `snapshot = false` the sink begins with what changes after its contents at the start.
fn leave_out_contents(graph: &mut Graph, options: &SinkOptions) {
    for node in &mut graph.nodes {
        if let NodeKind::Sink(spec) = &mut node.kind {
            spec.changes_only = !options.snapshot;
        }
    }
}

/// An updating relation can be sent only with its epochs and weights.
fn check_changes(create: &CreateSink, options: &SinkOptions, append_only: bool) -> Result<()> {
    match &options.connector {
        SinkConnector::File { .. } if !append_only && !options.changelog => {
            Err(Error::unsupported(format!("sink \"{}\" would have to take rows back", create.name.name))
                .with_detail("What it sends is revised as its inputs change; rows of a file cannot be taken back.")
                .with_hint(
                    "Write EMIT ON WINDOW CLOSE, or changelog = true: each row then tells ms_epoch and ms_weight.",
                )
                .at(create.name.position))
        }
        SinkConnector::File { .. } | SinkConnector::Blackhole => Ok(()),
    }
}

/// Whether the connector opens files to tell its columns.
fn reads_files(options: &SourceOptions) -> bool {
    match &options.connector {
        SourceConnector::File { .. } => true,
        SourceConnector::Nexmark(_) | SourceConnector::Datagen(_) => false,
    }
}

fn emit_mode(emit: EmitClause) -> EmitMode {
    match emit {
        EmitClause::Changes => EmitMode::Changes,
        EmitClause::WindowClose { position } => EmitMode::WindowClose { position },
    }
}

/// What its definition says of the rows of a source or table.
fn fill(relation: &mut Relation, bound: &RelationDefinition) -> Result<()> {
    let json = |expr: &crate::functions::Expr| {
        serde_json::to_value(expr)
            .map_err(|error| Error::internal("expression is not spelled as JSON").caused_by(error))
    };
    relation.primary_key.clone_from(&bound.primary_key);
    relation.depends_on = created_by_users(&bound.functions);
    for (column, expr) in &bound.generated {
        relation.generated.insert(*column, json(expr)?);
    }
    if let Some(watermark) = &bound.watermark {
        let expression = json(&watermark.expression)?;
        let (column, delay_us) = (watermark.column, watermark.delay_us);
        relation.watermark = Some(RelationWatermark { column, expression, delay_us });
    }
    Ok(())
}

/// The relations that were created by statements: what a definition depends on.
fn created_by_users(relations: &[Arc<Relation>]) -> BTreeSet<RelationId> {
    let created = relations.iter().filter(|relation| relation.kind != RelationKind::System);
    created.map(|relation| relation.id).collect()
}

/// The graph's JSON as the catalog keeps it.
fn graph_text(graph: &Graph) -> Result<Arc<str>> {
    let bytes = graph.to_json()?;
    let text = String::from_utf8(bytes).map_err(|error| Error::internal("graph is not text").caused_by(error))?;
    Ok(text.into())
}

/// Whether a view with columns `new` can take the place of one with columns `old`, for those who name these: it may have more.
fn check_view_columns(old: &Schema, new: &Schema) -> Result<()> {
    let refused = |message: String| {
        let error = Error::invalid(message).with_code(sqlstate::INVALID_TABLE_DEFINITION);
        Err(error.with_hint("Drop the view first, or give its columns in their order and types, new ones behind them."))
    };
    if new.columns.len() < old.columns.len() {
        return refused("cannot drop columns from view".to_string());
    }
    for (old, new) in old.columns.iter().zip(&new.columns) {
        if old.name != new.name {
            return refused(format!("cannot change name of view column \"{}\" to \"{}\"", old.name, new.name));
        }
        if old.ty != new.ty {
            let (from, to) = (&old.ty, &new.ty);
            return refused(format!("cannot change data type of view column \"{}\" from {from} to {to}", old.name));
        }
    }
    Ok(())
}
