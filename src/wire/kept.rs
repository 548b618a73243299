//! What a connection keeps under a name because a statement said so: PREPARE and EXECUTE are the protocol's prepared
//! statements, DECLARE and FETCH its portals, in SQL's words.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, new_null_array};
use bytes::BytesMut;
use futures::TryStreamExt;

use super::attend::{Guard, attend};
use super::column::Column;
use super::connection::Connection;
use super::extended::{Portal, PortalState, Stored, missing_portal, missing_statement};
use super::messages;
use super::rows::{Cursor, DataRows, RowWriter};
use crate::base::{Error, Result, sqlstate};
use crate::engine::{Directive, Outcome, Prepared, Statement, TransactionState};
use crate::types::SqlType;

/// Passes over rows.
struct Over;

impl RowWriter for Over {
    fn write(&mut self, _: &[Column<'_>], _: usize, _: &mut BytesMut) {}
}

/// How the rows of a statement are told: in a simple query with their description, in text; else described before.
pub enum Told<'a> {
    /// Simple protocol.
    Simple,
    /// Extended protocol: which columns are in binary.
    Extended(&'a [bool]),
}

impl Connection {
    /// The columns that a statement about what is kept will give, as far as that is known now.
    pub(super) fn directive_columns(&self, directive: &Directive) -> Prepared {
        let columns = match directive {
            Directive::Execute { name, .. } => {
                self.statements.get(name).and_then(|stored| stored.prepared.columns.clone())
            }
            Directive::Fetch { name, passes_over: false, .. } => {
                self.portals.get(name).and_then(|portal| portal.stored.prepared.columns.clone())
            }
            _ => None,
        };
        Prepared { columns, ..Prepared::default() }
    }

    /// Does what a statement says of what is kept.
    pub(super) async fn direct(&mut self, directive: Directive, told: Told<'_>, guard: &Guard) -> Result<()> {
        if self.session.transaction() == TransactionState::Failed {
            return Err(Error::invalid(
                "current transaction is aborted, commands ignored until end of transaction block",
            )
            .with_code(sqlstate::IN_FAILED_TRANSACTION)
            .with_hint("Send ROLLBACK."));
        }
        let tag = match directive {
            Directive::Prepare { name, types, statement } => {
                self.keep_statement(name, &types, statement, guard).await?
            }
            Directive::Execute { name, values } => return self.execute_kept(&name, values.as_ref(), told, guard).await,
            Directive::Deallocate(Some(name)) => {
                self.statements.remove(&name).ok_or_else(|| missing_statement(&name))?;
                "DEALLOCATE"
            }
            Directive::Deallocate(None) => {
                self.statements.clear();
                "DEALLOCATE ALL"
            }
            Directive::Declare { name, hold, binary, statement } => {
                self.declare(name, Kept { hold, binary }, &statement, guard).await?
            }
            Directive::Fetch { name, count, passes_over } => {
                return self.fetch(&name, count, passes_over, told, guard).await;
            }
            Directive::Close(Some(name)) => {
                self.portals.remove(&name).ok_or_else(|| missing_cursor(&name))?;
                "CLOSE CURSOR"
            }
            Directive::Close(None) => {
                self.portals.clear();
                "CLOSE CURSOR ALL"
            }
            Directive::DiscardAll => {
                self.statements.clear();
                self.portals.clear();
                self.session.settings_mut().reset("ALL")?;
                "DISCARD ALL"
            }
        };
        self.tell_settings();
        messages::complete(&mut self.socket.output, tag);
        Ok(())
    }

    /// PREPARE.
    async fn keep_statement(
        &mut self,
        name: String,
        types: &[SqlType],
        statement: Statement,
        guard: &Guard,
    ) -> Result<&'static str> {
        self.check_room()?;
        if self.statements.contains_key(&name) {
            return Err(Error::invalid(format!("prepared statement \"{name}\" already exists"))
                .with_code("42P05")
                .with_hint("DEALLOCATE it first, or choose another name."));
        }
        let types: Vec<Option<SqlType>> = types.iter().cloned().map(Some).collect();
        let prepared = attend(&mut self.socket, guard, self.session.prepare(&statement, &types)).await?;
        self.statements.insert(name, Stored { statement: Some(statement), prepared });
        Ok("PREPARE")
    }

    /// EXECUTE.
    async fn execute_kept(
        &mut self,
        name: &str,
        values: Option<&Statement>,
        told: Told<'_>,
        guard: &Guard,
    ) -> Result<()> {
        let stored = self.statements.get(name).ok_or_else(|| missing_statement(name))?.clone();
        let given = match values {
            Some(values) => self.values(values, &stored.prepared.parameters, guard).await?,
            None => Vec::new(),
        };
        let wanted = stored.prepared.parameters.len();
        if given.len() != wanted {
            return Err(Error::syntax(format!("wrong number of parameters for prepared statement \"{name}\""))
                .with_detail(format!("Expected {wanted} parameters but got {}.", given.len())));
        }
        let Some(statement) = &stored.statement else {
            messages::empty_query(&mut self.socket.output);
            return Ok(());
        };
        Box::pin(self.answer_statement(statement, &given, told, guard)).await
    }

    /// The one row of a query of constants, as parameters of `types`.
    async fn values(&mut self, values: &Statement, types: &[SqlType], guard: &Guard) -> Result<Vec<ArrayRef>> {
        let work = self.session.execute(values, &[], guard.token.clone());
        let Outcome::Rows { schema, rows, .. } = attend(&mut self.socket, guard, work).await? else {
            return Ok(Vec::new());
        };
        let batches = attend(&mut self.socket, guard, rows.try_collect::<Vec<_>>()).await?;
        let Some(batch) = batches.iter().find(|batch| batch.num_rows() > 0) else { return Ok(Vec::new()) };
        let mut given = Vec::with_capacity(batch.num_columns());
        for (index, (array, column)) in batch.columns().iter().zip(&schema.columns).enumerate() {
            let ty = types.get(index).unwrap_or(&column.ty);
            let shown = Column::new(array, &column.ty)?;
            given.push(if shown.is_null(0) {
                new_null_array(&ty.arrow(), 1)
            } else if *ty == column.ty {
                array.slice(0, 1)
            } else {
                // Read as SQL reads 'text'::type.
                let mut text = BytesMut::new();
                shown.write_text(0, &mut text);
                Arc::new(StringArray::from(vec![String::from_utf8_lossy(&text).into_owned()]))
            });
        }
        Ok(given)
    }

    /// DECLARE.
    async fn declare(
        &mut self,
        name: String,
        kept: Kept,
        statement: &Statement,
        guard: &Guard,
    ) -> Result<&'static str> {
        self.check_room()?;
        if !kept.hold && self.session.transaction() == TransactionState::Idle {
            return Err(Error::invalid("DECLARE CURSOR can only be used in transaction blocks")
                .with_code("25P01")
                .with_hint("BEGIN first, or write DECLARE name CURSOR WITH HOLD FOR ..."));
        }
        if self.portals.contains_key(&name) {
            return Err(Error::invalid(format!("cursor \"{name}\" already exists"))
                .with_code("42P03")
                .with_hint("CLOSE it first, or choose another name."));
        }
        let work = self.session.execute(statement, &[], guard.token.clone());
        let Outcome::Rows { schema, rows, follows, tag, notices } = attend(&mut self.socket, guard, work).await? else {
            return Err(Error::internal("the statement of a cursor gave no rows"));
        };
        self.notices(&notices);
        let binary = vec![kept.binary; schema.columns.len()];
        let prepared = Prepared { columns: Some(schema.clone()), ..Prepared::default() };
        let portal = Portal {
            stored: Stored { statement: None, prepared },
            parameters: Vec::new(),
            binary,
            state: PortalState::Suspended(Box::new(Cursor::new(schema, rows, follows)), tag),
            hold: kept.hold,
        };
        self.portals.insert(name, portal);
        Ok("DECLARE CURSOR")
    }

    /// FETCH and MOVE. What follows a relation never ends: it gives what is there, and waits only for the first row.
    async fn fetch(
        &mut self,
        name: &str,
        count: Option<u64>,
        passes_over: bool,
        told: Told<'_>,
        guard: &Guard,
    ) -> Result<()> {
        let mut portal = self.portals.remove(name).ok_or_else(|| missing_cursor(name))?;
        let binary = match told {
            Told::Simple => portal.binary.clone(),
            Told::Extended(binary) => binary.to_vec(),
        };
        if let (Told::Simple, false, Some(schema)) = (&told, passes_over, &portal.stored.prepared.columns) {
            let binary = |index: usize| binary.get(index).copied().unwrap_or(false);
            messages::row_description(&mut self.socket.output, schema, binary);
        }
        let mut sent = 0;
        portal.state = match std::mem::replace(&mut portal.state, PortalState::Done) {
            PortalState::Suspended(mut cursor, tag) if count != Some(0) => {
                let before = cursor.sent;
                cursor.only_ready = cursor.follows;
                let (mut rows, mut over) = (DataRows { binary }, Over);
                let writer: &mut dyn RowWriter = if passes_over { &mut over } else { &mut rows };
                let ended = cursor.send(&mut self.socket, guard, writer, count).await?;
                sent = cursor.sent - before;
                if ended { PortalState::Exhausted(tag) } else { PortalState::Suspended(cursor, tag) }
            }
            other => other,
        };
        self.portals.insert(name.to_string(), portal);
        let word = if passes_over { "MOVE" } else { "FETCH" };
        messages::complete(&mut self.socket.output, &format!("{word} {sent}"));
        Ok(())
    }
}

/// What DECLARE says of a cursor.
struct Kept {
    hold: bool,
    binary: bool,
}

fn missing_cursor(name: &str) -> Error {
    let error = missing_portal(name);
    Error::invalid(format!("cursor \"{name}\" does not exist")).with_code(error.sqlstate())
}
