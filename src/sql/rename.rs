//! A statement's text after a relation that it names was renamed.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, TableFactor, Visit, Visitor};

use super::parse::{fold, parse};
use super::statement::{CreateSink, Name, Query, SinkFrom, Statement};
use crate::base::{Error, Result};

/// The name that a relation had.
#[derive(Clone, Copy, Debug)]
pub struct OldName<'a> {
    /// Its schema.
    pub schema: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// `text`, a CREATE statement, with the name `to` for what it creates.
pub fn renamed_statement(text: &str, to: &str) -> Result<String> {
    let name = match statement(text)? {
        Statement::CreateSource(create) | Statement::CreateTable(create) => create.name,
        Statement::CreateView(view) | Statement::CreateMaterializedView(view) => view.name,
        Statement::CreateSink(sink) => sink.name,
        Statement::CreateIndex(index) => match index.name {
            Some(name) => name,
            None => {
                let at = index.relation.position;
                let on = text.char_indices().nth(at.saturating_sub(1)).map_or(0, |(byte, _)| byte);
                let on = text[..on].to_lowercase().rfind("on").unwrap_or(on);
                return Ok(format!("{}{} {}", &text[..on], quoted(to), &text[on..]));
            }
        },
        _ => return Err(Error::internal("a relation of the catalog was not created by a statement")),
    };
    let mut places = Vec::new();
    name_place(text, &name, &mut places);
    Ok(replaced(text, places, to))
}

/// `text`, a CREATE statement, with the name `to` wherever it reads the relation `old`. Where the query has no other name
/// for the relation, the old one stays as its alias, so that qualified columns keep their meaning.
pub fn renamed_references(text: &str, old: OldName<'_>, to: &str) -> Result<String> {
    let mut references = References { old, places: Vec::new() };
    match statement(text)? {
        Statement::CreateView(view) | Statement::CreateMaterializedView(view) => references.of(&view.query),
        Statement::CreateSink(CreateSink { from: SinkFrom::Query { query, .. }, .. }) => references.of(&query),
        Statement::CreateSink(CreateSink { from: SinkFrom::Relation(name), .. }) => {
            name_place(text, &name, &mut references.places);
        }
        Statement::CreateIndex(index) => name_place(text, &index.relation, &mut references.places),
        _ => {}
    }
    Ok(replaced(text, references.places, to))
}

fn statement(text: &str) -> Result<Statement> {
    let parsed = parse(text)?.into_iter().next().map(|parsed| parsed.statement);
    parsed.ok_or_else(|| Error::internal("a relation of the catalog has no statement"))
}

/// A run of characters (1-based, end exclusive) that spells a name, and whether an alias must be put behind.
struct Place {
    from: usize,
    to: usize,
    alias: Option<String>,
}

/// Finds the last part of a parsed name in the text.
fn name_place(text: &str, name: &Name, places: &mut Vec<Place>) {
    let rest: Vec<char> = text.chars().skip(name.position.saturating_sub(1)).collect();
    let parts = 1 + usize::from(name.schema.is_some());
    let (mut at, mut from) = (0, 0);
    for part in 0..parts {
        while rest.get(at).is_some_and(|ch| ch.is_whitespace() || (part > 0 && *ch == '.')) {
            at += 1;
        }
        from = at;
        if rest.get(at) == Some(&'"') {
            at += 1;
            while let Some(ch) = rest.get(at) {
                at += 1;
                if *ch == '"' {
                    if rest.get(at) != Some(&'"') {
                        break;
                    }
                    at += 1;
                }
            }
        } else {
            while rest.get(at).is_some_and(|ch| ch.is_alphanumeric() || matches!(ch, '_' | '$')) {
                at += 1;
            }
        }
    }
    places.push(Place { from: name.position + from, to: name.position + at, alias: None });
}

struct References<'a> {
    old: OldName<'a>,
    places: Vec<Place>,
}

impl References<'_> {
    fn of(&mut self, query: &Query) {
        let _ = query.visit(self);
    }

    fn is_old(&self, parts: &[&Ident]) -> bool {
        match parts {
            [name] => fold(name) == self.old.name,
            [schema, name] => fold(schema) == self.old.schema && fold(name) == self.old.name,
            _ => false,
        }
    }

    fn note(&mut self, parts: &[&Ident], alias: Option<String>) {
        if let Some(last) = parts.last().filter(|_| self.is_old(parts)) {
            let (from, to) = (last.span.start.column as usize, last.span.end.column as usize);
            self.places.push(Place { from, to, alias });
        }
    }

    fn note_name(&mut self, name: &ObjectName, alias: Option<String>) {
        let parts: Vec<&Ident> = name.0.iter().filter_map(|part| part.as_ident()).collect();
        self.note(&parts, alias);
    }

    /// A window's first argument is a relation, written like a column.
    fn note_argument(&mut self, argument: &FunctionArg) {
        let (FunctionArg::Unnamed(argument) | FunctionArg::Named { arg: argument, .. }) = argument else { return };
        let FunctionArgExpr::Expr(expr) = argument else { return };
        match expr {
            Expr::Identifier(ident) => self.note(&[ident], None),
            Expr::CompoundIdentifier(parts) => self.note(&parts.iter().collect::<Vec<_>>(), None),
            _ => {}
        }
    }
}

impl Visitor for References<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let own = alias.is_none().then(|| self.old.name.to_string());
                self.note_name(name, own);
            }
            TableFactor::Table { args: Some(args), .. } => {
                if let Some(first) = args.args.first() {
                    self.note_argument(first);
                }
            }
            TableFactor::Function { args, .. } => {
                if let Some(first) = args.first() {
                    self.note_argument(first);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// `text` with `to` at every place.
fn replaced(text: &str, mut places: Vec<Place>, to: &str) -> String {
    places.sort_by_key(|place| place.from);
    let chars: Vec<char> = text.chars().collect();
    let (mut renamed, mut at) = (String::with_capacity(text.len() + 16), 1);
    for place in places.iter().filter(|place| place.from > 0) {
        renamed.extend(chars.iter().skip(at - 1).take(place.from.saturating_sub(at)));
        renamed.push_str(&quoted(to));
        if let Some(alias) = &place.alias {
            renamed.push_str(&format!(" AS {}", quoted(alias)));
        }
        at = place.to.max(at);
    }
    renamed.extend(chars.iter().skip(at - 1));
    renamed
}

/// `name` as it must be written: in quotes, unless it is a plain word in lower case.
pub fn quoted(name: &str) -> String {
    let mut letters = name.chars();
    let plain = letters.next().is_some_and(|first| first.is_ascii_lowercase() || first == '_')
        && letters.all(|ch| ch.is_ascii_lowercase() || ch.is_ascii_digit() || ch == '_')
        && sqlparser::keywords::ALL_KEYWORDS.binary_search(&name.to_uppercase().as_str()).is_err();
    if plain { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: OldName<'_> = OldName { schema: "public", name: "bids" };

    #[test]
    fn references_are_renamed_and_columns_keep_their_qualifier() {
        for (text, expected) in [
            ("CREATE VIEW v AS SELECT bids.price FROM bids", "CREATE VIEW v AS SELECT bids.price FROM offers AS bids"),
            (
                "CREATE VIEW v AS SELECT b.price FROM Public.\"bids\" b",
                "CREATE VIEW v AS SELECT b.price FROM Public.offers b",
            ),
            (
                "CREATE MATERIALIZED VIEW v AS SELECT * FROM TUMBLE(bids, ts, INTERVAL '1 s')",
                "CREATE MATERIALIZED VIEW v AS SELECT * FROM TUMBLE(offers, ts, INTERVAL '1 s')",
            ),
            (
                "CREATE SINK s FROM bids WITH (connector = 'blackhole')",
                "CREATE SINK s FROM offers WITH (connector = 'blackhole')",
            ),
            ("CREATE INDEX ON bids (price)", "CREATE INDEX ON offers (price)"),
        ] {
            assert_eq!(renamed_references(text, OLD, "offers").unwrap(), expected);
        }
    }

    #[test]
    fn the_own_name_is_renamed() {
        for (text, expected) in [
            ("CREATE TABLE IF NOT EXISTS \"ä.b\" (a INT)", "CREATE TABLE IF NOT EXISTS \"New\" (a INT)"),
            ("CREATE VIEW s . v AS SELECT 1", "CREATE VIEW s . \"New\" AS SELECT 1"),
            ("CREATE INDEX ON t (a)", "CREATE INDEX \"New\" ON t (a)"),
        ] {
            assert_eq!(renamed_statement(text, "New").unwrap(), expected);
        }
    }
}
