//! COPY FROM STDIN, and what a session says of prepared statements and cursors, which its caller keeps.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;

use crate::base::{Error, Result};
use crate::catalog::Privilege;
use crate::sql::{self, CopyFormat as SqlCopyFormat, CopyIn, CopyOptions, ParsedStatement, Statement as Sql};

use super::super::api::{CopyFormat, Directive, Outcome, Statement};
use super::Work;

/// `statement` as the session's caller knows it.
fn shared(statement: &Arc<ParsedStatement>) -> Statement {
    let parsed: Arc<dyn std::any::Any + Send + Sync> = Arc::<ParsedStatement>::clone(statement);
    Statement { text: statement.text.as_str().into(), position: statement.position, parsed }
}

/// What `statement` says of prepared statements and cursors.
pub(super) fn directive(statement: &Sql) -> Option<Directive> {
    Some(match statement {
        Sql::Prepare(prepare) => Directive::Prepare {
            name: prepare.name.clone(),
            types: prepare.types.clone(),
            statement: shared(&prepare.statement),
        },
        Sql::Execute(execute) => {
            Directive::Execute { name: execute.name.clone(), values: execute.values.as_ref().map(shared) }
        }
        Sql::Deallocate(name) => Directive::Deallocate(name.clone()),
        Sql::Declare(declare) => Directive::Declare {
            name: declare.name.clone(),
            hold: declare.hold,
            binary: declare.binary,
            statement: shared(&declare.statement),
        },
        Sql::Fetch(fetch) => {
            Directive::Fetch { name: fetch.name.clone(), count: fetch.count, passes_over: fetch.passes_over }
        }
        Sql::Close(name) => Directive::Close(name.clone()),
        Sql::Discard => Directive::DiscardAll,
        _ => return None,
    })
}

/// The format that options of COPY ask for.
pub(super) fn format_of(options: &CopyOptions) -> CopyFormat {
    let mut format = match options.format {
        SqlCopyFormat::Text => CopyFormat::text(),
        SqlCopyFormat::Csv => CopyFormat::csv(),
        SqlCopyFormat::Binary => CopyFormat { binary: true, ..CopyFormat::text() },
    };
    format.header = options.header;
    format.delimiter = options.delimiter.unwrap_or(format.delimiter);
    format.quote = options.quote.unwrap_or(format.quote);
    format.escape = options.escape.unwrap_or(format.quote);
    if let Some(null) = &options.null {
        format.null.clone_from(null);
    }
    format
}

/// A COPY with the rows that came for it, to be executed as the change that it is.
pub(super) struct Copied {
    copy: CopyIn,
    rows: RecordBatch,
    text: String,
    position: usize,
}

impl Copied {
    /// `rows` for the COPY `parsed`.
    pub fn new(parsed: &ParsedStatement, rows: Vec<RecordBatch>) -> Result<Copied> {
        let (Sql::CopyIn(copy), Some(first)) = (&parsed.statement, rows.first()) else {
            return Err(Error::internal("rows came for a statement that takes none"));
        };
        let rows = concat_batches(&first.schema(), &rows)?;
        Ok(Copied { copy: copy.clone(), rows, text: parsed.text.clone(), position: parsed.position })
    }

    /// As a statement; `of` is the COPY as it came.
    pub fn into_statement(self, of: &Statement) -> Statement {
        let parsed = ParsedStatement {
            statement: Sql::Copied(sql::Copied { copy: self.copy, rows: Arc::new(self.rows) }),
            text: self.text,
            position: self.position,
        };
        Statement { text: Arc::clone(&of.text), position: of.position, parsed: Arc::new(parsed) }
    }
}

impl Work<'_> {
    /// COPY FROM STDIN: which rows are to be sent.
    pub(super) fn copy_in(&mut self, copy: &CopyIn) -> Result<Outcome> {
        let catalog = self.catalog();
        let bound = self.binder(&catalog).copy_in(copy)?;
        self.permit_on(&bound.table, Privilege::Insert)?;
        Ok(Outcome::CopyIn { schema: bound.given.columns.clone(), format: format_of(&copy.options) })
    }

    /// The rows of a COPY have come.
    pub(super) async fn copied(&mut self, copied: &sql::Copied) -> Result<Outcome> {
        let catalog = self.catalog();
        let bound = self.binder(&catalog).copy_in(&copied.copy)?;
        self.permit_on(&bound.table, Privilege::Insert)?;
        let rows = RecordBatch::try_new(bound.given.columns.arrow(), copied.rows.columns().to_vec())?;
        let count = rows.num_rows();
        if count > 0 {
            self.bring_in(&bound.table, bound.rows, (bound.given.id, rows)).await?;
        }
        Ok(self.done(format!("COPY {count}")))
    }
}
