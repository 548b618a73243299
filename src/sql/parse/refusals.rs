//! What users of other systems type and we do not take: refused by name, with a rewrite that works.

use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use crate::base::Error;

fn refused(what: &str, rewrite: &str, position: usize) -> Error {
    Error::unsupported(format!("{what} is not supported")).with_hint(rewrite).at(position)
}

/// A statement that begins with `word`.
pub(super) fn statement(cursor: &Cursor<'_>, word: &str) -> Error {
    let rewrite = match word {
        "table" => "Write SELECT * FROM name.",
        "merge" => "Write UPDATE and INSERT.",
        "backup" => "Stop the engine and copy its data directory.",
        "replay" => "Read the faults with SELECT * FROM ms_faults.name and insert mended rows again.",
        "recover" | "cancel" => "DROP the object and CREATE it anew.",
        "vacuum" | "analyze" | "cluster" | "reindex" | "checkpoint" => "Leave it out: the engine keeps its own house.",
        "reassign" => "Give each object its new owner with ALTER ... OWNER TO.",
        "lock" | "listen" | "notify" | "security" | "load" | "import" => "Leave it out.",
        "call" | "do" => "Send the statements themselves.",
        "use" => "There is one database, millstream.",
        "tail" => "Write SUBSCRIBE TO name.",
        "kill" => "Cancel from the client (Ctrl-C in psql), or DROP the job's object.",
        _ => return cursor.unexpected("a statement (SELECT, CREATE, INSERT, ...)"),
    };
    refused(&word.to_uppercase(), rewrite, cursor.position())
}

/// `CREATE` of what we have not.
pub(super) fn create(cursor: &Cursor<'_>, position: usize) -> Error {
    let Some(word) = cursor.peek_word() else {
        return cursor.unexpected("SOURCE, TABLE, VIEW, MATERIALIZED VIEW or SINK");
    };
    let rewrite = match word.as_str() {
        "unique" => "Write CREATE INDEX; what must be unique is the PRIMARY KEY of its table.",
        "database" => "There is one database, millstream: CREATE SCHEMA name keeps things apart.",
        "temporary" | "temp" | "unlogged" | "global" | "local" | "recursive" | "external" | "foreign" => {
            "Write CREATE TABLE or CREATE VIEW alone."
        }
        "aggregate" | "procedure" | "trigger" | "rule" => {
            "Write the expression into a view, or CREATE FUNCTION ... LANGUAGE sql."
        }
        "type" | "domain" | "sequence" | "extension" | "collation" | "cast" | "operator" => {
            "Use the built-in types and functions."
        }
        "subscription" => "Write SUBSCRIBE TO name, or COPY (SUBSCRIBE TO name) TO STDOUT.",
        "connection" | "catalog" => "Write the options into WITH (...) of the source or sink.",
        "cluster" | "replica" | "job" | "pipeline" => "Leave it out: the workers are shared by all jobs.",
        "stream" => "Write CREATE SOURCE, or CREATE MATERIALIZED VIEW ... AS SELECT.",
        _ => return cursor.unexpected("SOURCE, TABLE, VIEW, MATERIALIZED VIEW or SINK"),
    };
    refused(&format!("CREATE {}", word.to_uppercase()), rewrite, position)
}

/// `DROP` of what we have not.
pub(super) fn drop(cursor: &Cursor<'_>, position: usize) -> Error {
    match cursor.peek_word() {
        Some(word) if matches!(cursor.peek_nth(1), Some(Token::Word(_))) => refused(
            &format!("DROP {}", word.to_uppercase()),
            "DROP takes SOURCE, TABLE, VIEW, MATERIALIZED VIEW, SINK, INDEX, FUNCTION, SCHEMA, ROLE and SECRET.",
            position,
        ),
        _ => cursor.unexpected("SOURCE, TABLE, VIEW, MATERIALIZED VIEW or SINK"),
    }
}

/// A constraint in a column list.
pub(super) fn constraint(word: &str, position: usize) -> Error {
    let (what, rewrite) = match word {
        "unique" => ("UNIQUE", "Make it the PRIMARY KEY, or leave it out."),
        "check" => ("CHECK", "Leave it out, and filter in a view: CREATE VIEW v AS SELECT * FROM t WHERE ..."),
        "foreign" | "references" => ("REFERENCES", "Leave it out; join the tables where rows must match."),
        "like" => ("LIKE in a column list", "Write the columns out."),
        "exclude" => ("EXCLUDE", "Leave it out."),
        _ => ("GENERATED ... AS IDENTITY", "Write BIGINT and give the value in INSERT."),
    };
    refused(what, rewrite, position)
}
