//! The extended protocol: statements prepared under a name, bound to parameters as portals, run in pieces.

use arrow::array::ArrayRef;
use bytes::Bytes;

use super::attend::{Guard, attend};
use super::connection::Connection;
use super::frame::{Frame, Target};
use super::kept::Told;
use super::rows::{Cursor, DataRows};
use super::{messages, parameters, pg_type};
use crate::base::{Error, Result, sqlstate};
use crate::engine::{Outcome, Prepared, Statement, Tag, TransactionState};

/// A prepared statement.
#[derive(Clone)]
pub struct Stored {
    /// None: the text held no statement.
    pub(super) statement: Option<Statement>,
    pub(super) prepared: Prepared,
}

/// A statement bound to its parameters.
pub struct Portal {
    pub(super) stored: Stored,
    pub(super) parameters: Vec<ArrayRef>,
    /// Per column: in binary.
    pub(super) binary: Vec<bool>,
    pub(super) state: PortalState,
    /// Whether it outlives the transaction block.
    pub(super) hold: bool,
}

/// How far a portal has come.
pub enum PortalState {
    /// Not run yet.
    Bound,
    /// Rows were sent up to a limit; more may follow.
    Suspended(Box<Cursor>, Tag),
    /// All rows were sent.
    Exhausted(Tag),
    /// Ran and gave no rows.
    Done,
}

pub(super) fn missing_statement(name: &str) -> Error {
    let named = if name.is_empty() {
        "unnamed prepared statement".to_string()
    } else {
        format!("prepared statement \"{name}\"")
    };
    Error::invalid(format!("{named} does not exist")).with_code(sqlstate::INVALID_STATEMENT_NAME)
}

pub(super) fn missing_portal(name: &str) -> Error {
    Error::invalid(format!("portal \"{name}\" does not exist")).with_code(sqlstate::INVALID_CURSOR_NAME)
}

/// `codes` for `count` things: none is text for all, one is for all, otherwise one each.
fn spread(codes: &[i16], count: usize, things: &str) -> Result<Vec<bool>> {
    match codes {
        [] => Ok(vec![false; count]),
        [one] => Ok(vec![*one == 1; count]),
        many if many.len() == count => Ok(many.iter().map(|&code| code == 1).collect()),
        many => Err(Error::invalid(format!("bind message has {} {things} formats but {count} {things}s", many.len()))
            .with_code(sqlstate::PROTOCOL_VIOLATION)),
    }
}

impl Connection {
    /// Answers one message of the extended protocol.
    pub(super) async fn extended(&mut self, frame: Frame) -> Result<()> {
        match frame {
            Frame::Parse { name, sql, types } => self.parse(name, &sql, &types).await,
            Frame::Bind { portal, statement, formats, values, column_formats } => {
                self.bind(portal, &statement, &formats, &values, &column_formats)
            }
            Frame::Describe(target, name) => self.describe(target, &name),
            Frame::Close(target, name) => {
                match target {
                    Target::Statement => drop(self.statements.remove(&name)),
                    Target::Portal => drop(self.portals.remove(&name)),
                }
                messages::close_complete(&mut self.socket.output);
                Ok(())
            }
            Frame::Execute(portal, limit) => {
                let guard = self.guard();
                let done = Box::pin(self.run_portal(&portal, limit, &guard)).await;
                self.rest();
                done
            }
            Frame::Flush => Ok(self.socket.flush().await?),
            // Left over from a copy, or answered by the caller.
            Frame::CopyData(_)
            | Frame::CopyDone
            | Frame::CopyFail(_)
            | Frame::Query(_)
            | Frame::Sync
            | Frame::Terminate => Ok(()),
        }
    }

    /// The end of a batch of messages.
    pub(super) fn sync(&mut self) {
        self.drop_portals();
        self.ready();
    }

    /// Portals end with their transaction.
    pub(super) fn drop_portals(&mut self) {
        if self.session.transaction() == TransactionState::Idle {
            self.portals.retain(|_, portal| portal.hold);
        }
    }

    /// Refuses the next statement or portal when there are too many.
    pub(super) fn check_room(&self) -> Result<()> {
        let limit = self.shared.settings.prepared_max;
        if self.statements.len() + self.portals.len() < limit {
            return Ok(());
        }
        Err(Error::limit("too many prepared statements and portals")
            .with_detail(format!("The limit is {limit}, setting prepared_max."))
            .with_hint("Close those that are no longer needed, or raise the setting."))
    }

    async fn parse(&mut self, name: String, sql: &str, oids: &[u32]) -> Result<()> {
        self.check_room()?;
        if !name.is_empty() && self.statements.contains_key(&name) {
            return Err(Error::invalid(format!("prepared statement \"{name}\" already exists")).with_code("42P05"));
        }
        let types = oids.iter().map(|&oid| pg_type::from_oid(oid)).collect::<Result<Vec<_>>>()?;
        let mut statements = self.session.parse(sql)?;
        let stored = match (statements.pop(), statements.is_empty()) {
            (None, _) => Stored { statement: None, prepared: Prepared::default() },
            (Some(statement), true) => {
                let prepared = match self.session.directive(&statement)? {
                    Some(directive) => self.directive_columns(&directive),
                    None => {
                        let guard = self.guard();
                        let work = self.session.prepare(&statement, &types);
                        let prepared = attend(&mut self.socket, &guard, work).await;
                        self.rest();
                        let mut prepared = prepared?;
                        prepared.told.extend(pg_type::declared(oids));
                        prepared
                    }
                };
                Stored { statement: Some(statement), prepared }
            }
            (Some(_), false) => {
                return Err(Error::syntax("cannot insert multiple commands into a prepared statement")
                    .with_hint("Send them one by one, or with the simple protocol."));
            }
        };
        self.statements.insert(name, stored);
        messages::parse_complete(&mut self.socket.output);
        Ok(())
    }

    fn bind(
        &mut self,
        portal: String,
        statement: &str,
        formats: &[i16],
        values: &[Option<Bytes>],
        column_formats: &[i16],
    ) -> Result<()> {
        self.check_room()?;
        let stored = self.statements.get(statement).ok_or_else(|| missing_statement(statement))?.clone();
        if !portal.is_empty() && self.portals.contains_key(&portal) {
            return Err(Error::invalid(format!("portal \"{portal}\" already exists")).with_code("42P03"));
        }
        let types = &stored.prepared.parameters;
        if values.len() != types.len() {
            return Err(Error::invalid(format!(
                "bind message supplies {} parameters, but prepared statement \"{statement}\" requires {}",
                values.len(),
                types.len()
            ))
            .with_code(sqlstate::PROTOCOL_VIOLATION));
        }
        let binary = spread(formats, values.len(), "parameter")?;
        let given = types.iter().zip(values).zip(&binary).enumerate();
        let parameters = given
            .map(|(index, ((ty, value), &binary))| {
                let told = stored.prepared.told.get(&index).copied();
                parameters::decode(index + 1, ty, told, value.as_ref(), binary)
            })
            .collect::<Result<Vec<_>>>()?;
        let columns = stored.prepared.columns.as_ref().map(|schema| schema.columns.len());
        let binary = match columns {
            Some(count) => spread(column_formats, count, "column")?,
            None => Vec::new(),
        };
        let bound = Portal { stored, parameters, binary, state: PortalState::Bound, hold: false };
        self.portals.insert(portal, bound);
        messages::bind_complete(&mut self.socket.output);
        Ok(())
    }

    fn describe(&mut self, target: Target, name: &str) -> Result<()> {
        let out = &mut self.socket.output;
        let (columns, binary): (_, &[bool]) = match target {
            Target::Statement => {
                let stored = self.statements.get(name).ok_or_else(|| missing_statement(name))?;
                messages::parameters(out, &stored.prepared);
                (&stored.prepared.columns, &[])
            }
            Target::Portal => {
                let portal = self.portals.get(name).ok_or_else(|| missing_portal(name))?;
                (&portal.stored.prepared.columns, &portal.binary)
            }
        };
        match columns {
            Some(schema) => {
                messages::row_description(out, schema, |index| binary.get(index).copied().unwrap_or(false));
            }
            None => messages::no_data(out),
        }
        Ok(())
    }

    /// Runs a portal, or goes on with it. The portal is out of the table meanwhile: an error forgets it.
    async fn run_portal(&mut self, name: &str, limit: i32, guard: &Guard) -> Result<()> {
        let mut portal = self.portals.remove(name).ok_or_else(|| missing_portal(name))?;
        let limit = u64::try_from(limit).ok().filter(|&limit| limit > 0);
        portal.state = match std::mem::replace(&mut portal.state, PortalState::Done) {
            PortalState::Bound => self.start(&portal.stored, &portal.parameters, &portal.binary, limit, guard).await?,
            PortalState::Suspended(cursor, tag) => self.send(cursor, tag, &portal.binary, limit, guard).await?,
            PortalState::Exhausted(tag) => {
                messages::complete(&mut self.socket.output, &tag.text(0));
                PortalState::Exhausted(tag)
            }
            PortalState::Done => {
                return Err(Error::invalid(format!("portal \"{name}\" cannot be run"))
                    .with_code(sqlstate::OBJECT_NOT_IN_STATE)
                    .with_detail("Its statement has run and gave no rows."));
            }
        };
        self.portals.insert(name.to_string(), portal);
        Ok(())
    }

    async fn start(
        &mut self,
        stored: &Stored,
        parameters: &[ArrayRef],
        binary: &[bool],
        limit: Option<u64>,
        guard: &Guard,
    ) -> Result<PortalState> {
        let Some(statement) = &stored.statement else {
            messages::empty_query(&mut self.socket.output);
            return Ok(PortalState::Bound);
        };
        if let Some(directive) = self.session.directive(statement)? {
            self.direct(directive, Told::Extended(binary), guard).await?;
            return Ok(PortalState::Done);
        }
        let work = self.session.execute(statement, parameters, guard.token.clone());
        match attend(&mut self.socket, guard, work).await? {
            Outcome::Rows { schema, rows, follows, tag, notices } => {
                let described = stored.prepared.columns.as_ref();
                if described.is_none_or(|described| described.types() != schema.types()) {
                    return Err(Error::unsupported("cached plan must not change result type")
                        .with_detail("What the statement reads was changed after it was prepared.")
                        .with_hint("Prepare it again."));
                }
                self.notices(&notices);
                self.send(Box::new(Cursor::new(schema, rows, follows)), tag, binary, limit, guard).await
            }
            outcome @ Outcome::CopyOut { .. } => {
                self.copy_out(outcome, guard).await?;
                Ok(PortalState::Done)
            }
            Outcome::CopyIn { schema, format } => {
                Box::pin(self.copy_in(statement, schema, format, guard)).await?;
                Ok(PortalState::Done)
            }
            Outcome::Done { tag, notices } => {
                self.notices(&notices);
                self.tell_settings();
                messages::complete(&mut self.socket.output, &tag);
                Ok(PortalState::Done)
            }
        }
    }

    /// Sends rows of `cursor` up to `limit`, then says whether it was all.
    async fn send(
        &mut self,
        mut cursor: Box<Cursor>,
        tag: Tag,
        binary: &[bool],
        limit: Option<u64>,
        guard: &Guard,
    ) -> Result<PortalState> {
        let before = cursor.sent;
        let mut writer = DataRows { binary: binary.to_vec() };
        if cursor.send(&mut self.socket, guard, &mut writer, limit).await? {
            messages::complete(&mut self.socket.output, &tag.text(cursor.sent - before));
            return Ok(PortalState::Exhausted(tag));
        }
        messages::portal_suspended(&mut self.socket.output);
        Ok(PortalState::Suspended(cursor, tag))
    }
}
