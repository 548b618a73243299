//! COPY FROM STDIN: rows that come from a client as what an INSERT selects from.

use std::sync::Arc;

use sqlparser::ast::SetExpr;

use super::change::Target;
use super::{BindMode, Binder, BoundQuery, plan_query};
use crate::base::{Error, Result, sqlstate};
use crate::catalog::{Relation, RelationKind};
use crate::sql::parse::parse;
use crate::sql::statement::{CopyIn, Statement};
use crate::types::{Column, RelationId, Schema};

/// The name of the rows that come; no statement that a user writes sees it.
const GIVEN: &str = "__copied";
/// Its number in plans; no relation of the catalog has it.
const GIVEN_ID: RelationId = RelationId(u64::MAX - 1);

/// A bound COPY FROM.
#[derive(Clone, Debug)]
pub struct BoundCopy {
    /// Into which table.
    pub table: Arc<Relation>,
    /// Stands for the rows that come: the columns of the statement, in order.
    pub given: Arc<Relation>,
    /// Gives the rows of the table.
    pub rows: BoundQuery,
}

impl Binder<'_> {
    /// Binds COPY FROM STDIN.
    pub fn copy_in(&self, copy: &CopyIn) -> Result<BoundCopy> {
        let target = Target::new(self, &copy.table)?;
        let set: Vec<usize> = if copy.columns.is_empty() {
            (0..target.declared.len()).filter(|&i| target.declared[i].generated.is_none()).collect()
        } else {
            copy.columns.iter().map(|name| target.column(name)).collect::<Result<_>>()?
        };
        if let Some(twice) = (0..set.len()).find(|&i| set[..i].contains(&set[i])) {
            return Err(Error::invalid(format!("column \"{}\" is specified more than once", copy.columns[twice].name))
                .with_code(sqlstate::DUPLICATE_COLUMN)
                .at(copy.columns[twice].position));
        }
        let columns = set.iter().filter_map(|&column| target.table.columns.columns.get(column));
        let columns = columns.map(|column| Column { nullable: true, ..column.clone() }).collect();
        let given = Arc::new(Relation::new(GIVEN_ID, GIVEN, RelationKind::Table, Schema::new(columns)));
        let mut provider = self.provider(BindMode::Read);
        provider.extra = Some(Arc::clone(&given));
        let query = match parse(&format!("SELECT * FROM {GIVEN}"))?.into_iter().next().map(|parsed| parsed.statement) {
            Some(Statement::Query(query)) if matches!(*query.body, SetExpr::Select(_)) => query,
            _ => return Err(Error::internal("the query of a COPY is none")),
        };
        let source = plan_query(&provider, *query, &[], false)?;
        let plan = self.table_rows(&mut provider, source, &target, &set)?;
        let rows = self.bound(provider, plan, &[])?;
        Ok(BoundCopy { table: target.table, given, rows })
    }
}
