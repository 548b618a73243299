//! `CREATE` and `DROP`.

use sqlparser::ast;
use sqlparser::tokenizer::Token;

use super::super::statement::{
    ColumnDeclaration, CreateRelation, CreateSink, CreateView, Drop, EmitClause, Name, ObjectKind, Options, SinkFrom,
    Statement, WatermarkDeclaration,
};
use super::access;
use super::clauses;
use super::cursor::Cursor;
use super::ddl;
use super::function;
use super::refusals;
use super::secret;
use crate::base::{Error, Result};

pub(super) fn create(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let start = cursor.position();
    cursor.advance();
    let or_replace = cursor.take_words(&["or", "replace"]);
    let what = cursor.position();
    let refuse_replace = |kind: &str| {
        if !or_replace {
            return Ok(());
        }
        Err(Error::unsupported(format!("CREATE OR REPLACE {kind} is not supported"))
            .with_hint(format!("DROP {kind} IF EXISTS first, then CREATE {kind}."))
            .at(start))
    };
    if cursor.take_words(&["source"]) {
        refuse_replace("SOURCE")?;
        return Ok(Statement::CreateSource(relation(cursor)?));
    }
    if cursor.take_words(&["table"]) {
        refuse_replace("TABLE")?;
        return Ok(Statement::CreateTable(relation(cursor)?));
    }
    if cursor.take_words(&["sink"]) {
        refuse_replace("SINK")?;
        return sink(cursor);
    }
    if cursor.take_words(&["materialized", "view"]) {
        refuse_replace("MATERIALIZED VIEW")?;
        return Ok(Statement::CreateMaterializedView(view(cursor, false)?));
    }
    if cursor.take_words(&["view"]) {
        let view = view(cursor, or_replace)?;
        if let EmitClause::WindowClose { position } = view.emit {
            return Err(Error::unsupported("a view without contents cannot emit on window close")
                .with_hint("Write CREATE MATERIALIZED VIEW, or move EMIT ON WINDOW CLOSE to the view that reads it.")
                .at(position));
        }
        if !view.options.values.is_empty() {
            return Err(Error::unsupported("a view without contents takes no options")
                .with_hint("Leave WITH (...) out, or write CREATE MATERIALIZED VIEW.")
                .at(what));
        }
        return Ok(Statement::CreateView(view));
    }
    if cursor.take_words(&["index"]) {
        refuse_replace("INDEX")?;
        return ddl::index(cursor);
    }
    if cursor.take_words(&["function"]) {
        return function::create(cursor, or_replace);
    }
    if cursor.take_words(&["schema"]) {
        refuse_replace("SCHEMA")?;
        return ddl::schema(cursor);
    }
    if let Some(user) = access::role_word(cursor) {
        refuse_replace("ROLE")?;
        return access::create_role(cursor, user);
    }
    if cursor.take_words(&["secret"]) {
        refuse_replace("SECRET")?;
        return secret::create(cursor);
    }
    Err(refusals::create(cursor, what))
}

fn if_not_exists(cursor: &mut Cursor<'_>) -> bool {
    cursor.take_words(&["if", "not", "exists"])
}

fn relation(cursor: &mut Cursor<'_>) -> Result<CreateRelation> {
    let if_not_exists = if_not_exists(cursor);
    let mut relation = CreateRelation {
        name: cursor.name()?,
        if_not_exists,
        columns: Vec::new(),
        primary_key: Vec::new(),
        watermark: None,
        include: Vec::new(),
        options: Options::default(),
        format: None,
    };
    if cursor.take(&Token::LParen) && !cursor.take(&Token::RParen) {
        loop {
            column_entry(cursor, &mut relation)?;
            if cursor.take(&Token::RParen) {
                break;
            }
            if !cursor.take(&Token::Comma) {
                return Err(cursor.unexpected("`,` or `)` in the column list"));
            }
        }
    }
    if cursor.peek_is_word("as") {
        return Err(Error::unsupported("CREATE TABLE AS is not supported")
            .with_hint("Create the table with its columns, then INSERT INTO it ... SELECT; or CREATE MATERIALIZED VIEW ... AS SELECT.")
            .at(cursor.position()));
    }
    relation.include = clauses::include(cursor)?;
    if cursor.take_words(&["with"]) {
        relation.options = clauses::option_list(cursor)?;
    }
    relation.format = clauses::format(cursor)?;
    Ok(relation)
}

/// One entry of the column list: a column, a generated column, a watermark or a constraint.
fn column_entry(cursor: &mut Cursor<'_>, relation: &mut CreateRelation) -> Result<()> {
    let position = cursor.position();
    if cursor.take_words(&["watermark", "for"]) {
        let column = cursor.column_name()?;
        cursor.expect_words(&["as"])?;
        let expression = cursor.expression()?;
        if relation.watermark.is_some() {
            return Err(Error::syntax("a relation has one watermark")
                .with_hint("Keep one WATERMARK FOR.")
                .at(position));
        }
        relation.watermark = Some(WatermarkDeclaration { column, expression });
        return Ok(());
    }
    if cursor.take_words(&["constraint"]) {
        cursor.column_name()?;
    }
    if cursor.take_words(&["primary", "key"]) {
        let key = cursor.name_list()?;
        cursor.take_words(&["not", "enforced"]);
        return set_primary_key(relation, key, position);
    }
    for word in ["unique", "check", "foreign", "exclude", "like"] {
        let constraint = cursor.peek_is_word(word)
            && (cursor.peek_nth(1) == Some(&Token::LParen) || word == "foreign" || word == "like");
        if constraint {
            return Err(refusals::constraint(word, position));
        }
    }
    let name = cursor.column_name()?;
    if cursor.take_words(&["as"]) {
        let generated = Some(cursor.expression()?);
        relation.columns.push(ColumnDeclaration { name, data_type: None, not_null: false, default: None, generated });
        return Ok(());
    }
    if cursor.peek_is_word("metadata") {
        return Err(Error::unsupported("METADATA columns are not supported")
            .with_hint("Write INCLUDE offset AS name after the column list.")
            .at(cursor.position()));
    }
    refuse_serial(cursor)?;
    let data_type = Some(cursor.data_type()?);
    let mut column = ColumnDeclaration { name, data_type, not_null: false, default: None, generated: None };
    while let Some(option) = column_option(cursor)? {
        apply_option(relation, &mut column, option, position)?;
    }
    relation.columns.push(column);
    Ok(())
}

fn refuse_serial(cursor: &Cursor<'_>) -> Result<()> {
    match cursor.peek_word().as_deref() {
        Some(word @ ("serial" | "bigserial" | "smallserial")) => {
            Err(Error::unsupported(format!("type {word} is not supported"))
                .with_hint("Write BIGINT and give the value in INSERT.")
                .at(cursor.position()))
        }
        _ => Ok(()),
    }
}

fn column_option(cursor: &mut Cursor<'_>) -> Result<Option<ast::ColumnOption>> {
    if cursor.take_words(&["constraint"]) {
        cursor.column_name()?;
    }
    if cursor.at_end() || cursor.peek_is(&Token::Comma) || cursor.peek_is(&Token::RParen) {
        return Ok(None);
    }
    if cursor.take_words(&["as"]) {
        let expression = cursor.expression()?;
        return Ok(Some(ast::ColumnOption::Alias(expression)));
    }
    let word = cursor.peek_word().unwrap_or_default();
    if matches!(word.as_str(), "unique" | "check" | "references") {
        return Err(refusals::constraint(&word, cursor.position()));
    }
    match cursor.with_parser(|parser| parser.parse_optional_column_option())? {
        Some(option) => Ok(Some(option)),
        None => Err(cursor.unexpected("`,`, `)`, NOT NULL, DEFAULT, PRIMARY KEY or AS")),
    }
}

fn apply_option(
    relation: &mut CreateRelation,
    column: &mut ColumnDeclaration,
    option: ast::ColumnOption,
    position: usize,
) -> Result<()> {
    match option {
        ast::ColumnOption::Null => column.not_null = false,
        ast::ColumnOption::NotNull => column.not_null = true,
        ast::ColumnOption::Default(expression) => column.default = Some(expression),
        ast::ColumnOption::PrimaryKey(_) => {
            column.not_null = true;
            return set_primary_key(relation, vec![column.name.clone()], position);
        }
        ast::ColumnOption::Alias(expression) => column.generated = Some(expression),
        ast::ColumnOption::Generated { generation_expr: Some(expression), .. } => column.generated = Some(expression),
        ast::ColumnOption::Generated { .. } => return Err(refusals::constraint("identity", position)),
        other => {
            return Err(Error::unsupported(format!("column option {other} is not supported"))
                .with_hint("A column takes NOT NULL, DEFAULT, PRIMARY KEY, or AS for a generated column.")
                .at(position));
        }
    }
    Ok(())
}

fn set_primary_key(relation: &mut CreateRelation, key: Vec<Name>, position: usize) -> Result<()> {
    if !relation.primary_key.is_empty() {
        return Err(Error::syntax(format!("multiple primary keys for \"{}\" are not allowed", relation.name))
            .with_code(crate::base::sqlstate::INVALID_TABLE_DEFINITION)
            .with_hint("Write one PRIMARY KEY (a, b).")
            .at(position));
    }
    relation.primary_key = key;
    Ok(())
}

fn view(cursor: &mut Cursor<'_>, or_replace: bool) -> Result<CreateView> {
    let if_not_exists = if_not_exists(cursor);
    let name = cursor.name()?;
    let columns = if cursor.peek_is(&Token::LParen) { cursor.name_list()? } else { Vec::new() };
    let options = if cursor.take_words(&["with"]) { clauses::option_list(cursor)? } else { Options::default() };
    cursor.expect_words(&["as"])?;
    let from = cursor.index();
    let until = cursor.find_outside_parentheses(clauses::emit_begins);
    let query = cursor.query_until(until)?;
    let query_text = cursor.text_since(from);
    let emit = clauses::emit(cursor)?;
    Ok(CreateView { name, or_replace, if_not_exists, columns, options, query, query_text, emit })
}

fn sink(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let if_not_exists = if_not_exists(cursor);
    let name = cursor.name()?;
    if cursor.take_words(&["into"]) {
        return Err(Error::unsupported("a sink into a table is not supported")
            .with_hint("Read the view itself: CREATE MATERIALIZED VIEW ... AS SELECT ...")
            .at(cursor.position()));
    }
    let from = if cursor.take_words(&["from"]) {
        SinkFrom::Relation(cursor.name()?)
    } else {
        cursor.expect_words(&["as"])?;
        let until = cursor.find_outside_parentheses(|cursor, n| {
            let options = cursor.peek_nth_is_word(n, "with") && cursor.peek_nth(n + 1) == Some(&Token::LParen);
            let format = cursor.peek_nth_is_word(n, "format") && cursor.peek_nth_is_word(n + 2, "encode");
            options || format || clauses::emit_begins(cursor, n)
        });
        let query = cursor.query_until(until)?;
        SinkFrom::Query { query, emit: clauses::emit(cursor)? }
    };
    let options = if cursor.take_words(&["with"]) { clauses::option_list(cursor)? } else { Options::default() };
    let format = clauses::format(cursor)?;
    Ok(Statement::CreateSink(CreateSink { name, if_not_exists, from, options, format }))
}

/// The kind of object that is next, if it is one of ours: `MATERIALIZED VIEW`, `SOURCES`, ... (`plural` for SHOW).
pub(super) fn object_kind(cursor: &mut Cursor<'_>, plural: bool) -> Option<ObjectKind> {
    let kinds = [
        ("source", ObjectKind::Source),
        ("table", ObjectKind::Table),
        ("view", ObjectKind::View),
        ("sink", ObjectKind::Sink),
        ("index", ObjectKind::Index),
        ("function", ObjectKind::Function),
    ];
    let spelled = |word: &str| match (plural, word) {
        (false, word) => word.to_string(),
        (true, "index") => "indexes".to_string(),
        (true, word) => format!("{word}s"),
    };
    if cursor.take_words(&["materialized", &spelled("view")]) {
        return Some(ObjectKind::MaterializedView);
    }
    kinds.iter().find(|(word, _)| cursor.take_words(&[&spelled(word)])).map(|(_, kind)| *kind)
}

/// The name of an object of `kind`.
pub(super) fn name_of(cursor: &mut Cursor<'_>, kind: ObjectKind) -> Result<Name> {
    if kind == ObjectKind::Function { function::named(cursor) } else { cursor.name() }
}

pub(super) fn drop(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.advance();
    let what = cursor.position();
    if cursor.take_words(&["schema"]) {
        return ddl::drop_schema(cursor);
    }
    if access::role_word(cursor).is_some() {
        return access::drop_role(cursor);
    }
    if cursor.take_words(&["secret"]) {
        return secret::drop(cursor);
    }
    let Some(kind) = object_kind(cursor, false) else {
        return Err(refusals::drop(cursor, what));
    };
    let if_exists = cursor.take_words(&["if", "exists"]);
    let mut names = vec![name_of(cursor, kind)?];
    while cursor.take(&Token::Comma) {
        names.push(name_of(cursor, kind)?);
    }
    let cascade = cursor.take_words(&["cascade"]);
    if !cascade {
        cursor.take_words(&["restrict"]);
    }
    Ok(Statement::Drop(Drop { kind, if_exists, names, cascade }))
}
