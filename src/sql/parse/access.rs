//! Roles and rights: CREATE, ALTER and DROP ROLE, GRANT and REVOKE, ALTER ... OWNER TO.

use sqlparser::tokenizer::Token;

use super::super::statement::{
    AccessStatement, CreateRole, GrantRights, GrantRole, Name, ObjectKind, ObjectName, RoleName, Statement,
};
use super::create::{name_of, object_kind};
use super::cursor::Cursor;
use crate::base::scram::Verifier;
use crate::base::{Error, Result};
use crate::catalog::{Privilege, RoleOptions};
use crate::types::text::read::timestamp_tz;

/// Takes `ROLE`, `USER` or `GROUP`; gives whether it was `USER`.
pub(super) fn role_word(cursor: &mut Cursor<'_>) -> Option<bool> {
    let words = [("role", false), ("user", true), ("group", false)];
    words.into_iter().find(|(word, _)| cursor.take_words(&[word])).map(|(_, user)| user)
}

fn said(statement: AccessStatement) -> Statement {
    Statement::Access(Box::new(statement))
}

/// `[IF NOT EXISTS] name [WITH] options`, behind CREATE ROLE; of a user `LOGIN` is the default.
pub(super) fn create_role(cursor: &mut Cursor<'_>, user: bool) -> Result<Statement> {
    let if_not_exists = cursor.take_words(&["if", "not", "exists"]);
    let name = cursor.column_name()?;
    let options = RoleOptions { login: user.then_some(true), ..RoleOptions::default() };
    let mut create = CreateRole { name, if_not_exists, options, member_of: Vec::new(), members: Vec::new() };
    cursor.take_words(&["with"]);
    while !cursor.at_end() {
        if cursor.take_words(&["in", "role"]) || cursor.take_words(&["in", "group"]) {
            create.member_of.extend(names(cursor)?);
        } else if cursor.take_words(&["role"]) || cursor.take_words(&["user"]) {
            create.members.extend(names(cursor)?);
        } else {
            role_option(cursor, &mut create.options)?;
        }
    }
    Ok(said(AccessStatement::CreateRole(create)))
}

/// `name [WITH] options`, behind ALTER ROLE.
pub(super) fn alter_role(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let role = role_name(cursor)?;
    for word in ["rename", "set", "reset", "in"] {
        if cursor.peek_is_word(word) {
            return Err(Error::unsupported(format!("ALTER ROLE ... {} is not supported", word.to_uppercase()))
                .with_hint("Settings are those of a session: SET them there. A role keeps its name.")
                .at(cursor.position()));
        }
    }
    cursor.take_words(&["with"]);
    let mut options = RoleOptions::default();
    loop {
        role_option(cursor, &mut options)?;
        if cursor.at_end() {
            return Ok(said(AccessStatement::AlterRole { role, options }));
        }
    }
}

/// `[IF EXISTS] name, ...`, behind DROP ROLE.
pub(super) fn drop_role(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let if_exists = cursor.take_words(&["if", "exists"]);
    Ok(said(AccessStatement::DropRole { names: names(cursor)?, if_exists }))
}

fn role_option(cursor: &mut Cursor<'_>, options: &mut RoleOptions) -> Result<()> {
    let flags = [
        ("superuser", &mut options.superuser),
        ("inherit", &mut options.inherit),
        ("login", &mut options.login),
        ("createrole", &mut options.create_role),
        ("createdb", &mut options.create_db),
    ];
    for (word, flag) in flags {
        if cursor.take_words(&[word]) {
            *flag = Some(true);
            return Ok(());
        }
        if cursor.take_words(&[&format!("no{word}")]) {
            *flag = Some(false);
            return Ok(());
        }
    }
    cursor.take_words(&["encrypted"]);
    if cursor.take_words(&["password"]) {
        options.verifier = Some(password(cursor)?);
    } else if cursor.take_words(&["connection", "limit"]) {
        options.connections_max = Some(limit(cursor)?);
    } else if cursor.take_words(&["valid", "until"]) {
        options.valid_until_us = Some(until(cursor)?);
    } else if cursor.take_words(&["noreplication"]) || cursor.take_words(&["nobypassrls"]) {
        // What no role here has.
    } else {
        return Err(cursor.unexpected(
            "LOGIN, SUPERUSER, INHERIT, CREATEROLE, CREATEDB (or NO...), PASSWORD, CONNECTION LIMIT or VALID UNTIL",
        ));
    }
    Ok(())
}

/// A text literal.
pub(super) fn text(cursor: &mut Cursor<'_>, expected: &str) -> Result<String> {
    match cursor.peek_nth(0) {
        Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => {
            let text = text.clone();
            cursor.advance();
            Ok(text)
        }
        _ => Err(cursor.unexpected(expected)),
    }
}

/// `'password' | NULL`, as what is kept of it. A verifier is taken as it is, like PostgreSQL does.
fn password(cursor: &mut Cursor<'_>) -> Result<Option<String>> {
    if cursor.take_words(&["null"]) {
        return Ok(None);
    }
    let position = cursor.position();
    let password = text(cursor, "the password (a text) or NULL")?;
    if password.is_empty() {
        return Err(Error::invalid("a password is not empty").with_hint("PASSWORD NULL takes it away.").at(position));
    }
    let md5 =
        password.strip_prefix("md5").is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
    if md5 {
        return Err(Error::unsupported("passwords hashed with MD5 are not supported")
            .with_hint("Give the password itself, or its SCRAM-SHA-256 verifier.")
            .at(position));
    }
    let verifier = Verifier::parse(&password).unwrap_or_else(|| Verifier::new(&password));
    Ok(Some(verifier.to_string()))
}

/// A number of connections; -1 is no limit.
fn limit(cursor: &mut Cursor<'_>) -> Result<Option<u32>> {
    let minus = cursor.take(&Token::Minus);
    let position = cursor.position();
    let Some(Token::Number(number, _)) = cursor.peek_nth(0) else { return Err(cursor.unexpected("a number")) };
    let number = number.parse::<u32>();
    cursor.advance();
    match (minus, number) {
        (true, Ok(1)) => Ok(None),
        (false, Ok(number)) => Ok(Some(number)),
        (true, _) | (false, Err(_)) => Err(Error::invalid("invalid connection limit")
            .with_hint("It is a whole number, or -1 for none.")
            .at(position)),
    }
}

fn until(cursor: &mut Cursor<'_>) -> Result<Option<i64>> {
    let position = cursor.position();
    let text = text(cursor, "a time, such as '2030-01-01 00:00:00+00'")?;
    if text.trim().eq_ignore_ascii_case("infinity") {
        return Ok(None);
    }
    timestamp_tz(&text).map(Some).map_err(|_| {
        Error::invalid(format!("invalid input syntax for type timestamp with time zone: \"{text}\""))
            .with_code("22007")
            .with_hint("Write it as '2030-01-01 00:00:00+00'.")
            .at(position)
    })
}

pub(super) fn names(cursor: &mut Cursor<'_>) -> Result<Vec<Name>> {
    let mut names = vec![cursor.column_name()?];
    while cursor.take(&Token::Comma) {
        names.push(cursor.column_name()?);
    }
    Ok(names)
}

/// A role, by its name or as who one is.
pub(super) fn role_name(cursor: &mut Cursor<'_>) -> Result<RoleName> {
    if cursor.take_words(&["current_user"]) || cursor.take_words(&["current_role"]) {
        return Ok(RoleName::CurrentUser);
    }
    if cursor.take_words(&["session_user"]) {
        return Ok(RoleName::SessionUser);
    }
    let position = cursor.position();
    if cursor.take_words(&["public"]) {
        return Ok(RoleName::Public { position });
    }
    cursor.take_words(&["group"]);
    Ok(RoleName::Named(cursor.column_name()?))
}

/// `GRANT ...` and `REVOKE ...`: of privileges where ON comes before TO, else of memberships.
pub(super) fn grant(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let revoke = cursor.take_words(&["revoke"]);
    if !revoke {
        cursor.expect_words(&["grant"])?;
    }
    let option = revoke && cursor.take_words(&["grant", "option", "for"]);
    let admin = revoke && cursor.take_words(&["admin", "option", "for"]);
    let mut words = vec![cursor.column_name()?];
    if words.iter().any(|word| word.name == "all") {
        cursor.take_words(&["privileges"]);
    }
    while cursor.take(&Token::Comma) {
        words.push(cursor.column_name()?);
    }
    if cursor.peek_is(&Token::LParen) {
        return Err(Error::unsupported("privileges on single columns are not supported")
            .with_hint("Grant on a view that has those columns alone.")
            .at(cursor.position()));
    }
    let towards = if revoke { "from" } else { "to" };
    let grants_rights = cursor.take_words(&["on"]);
    let objects = if grants_rights { objects(cursor)? } else { Vec::new() };
    cursor.expect_words(&[towards])?;
    let mut roles = vec![role_name(cursor)?];
    while cursor.take(&Token::Comma) {
        roles.push(role_name(cursor)?);
    }
    let option = option || grants_rights && !revoke && cursor.take_words(&["with", "grant", "option"]);
    let admin = admin || !grants_rights && !revoke && cursor.take_words(&["with", "admin", "option"]);
    granted_by(cursor)?;
    let cascade = revoke && cursor.take_words(&["cascade"]);
    if revoke && !cascade {
        cursor.take_words(&["restrict"]);
    }
    if !grants_rights {
        return Ok(said(AccessStatement::Membership(GrantRole { revoke, roles: words, members: roles, admin })));
    }
    let privileges = privileges(words)?;
    Ok(said(AccessStatement::Grant(GrantRights { revoke, privileges, objects, roles, option, cascade })))
}

/// The privileges that `words` name; none: all.
fn privileges(words: Vec<Name>) -> Result<Option<Vec<(Privilege, usize)>>> {
    if let [word] = words.as_slice()
        && word.name == "all"
    {
        return Ok(None);
    }
    let named = words.into_iter().map(|word| match Privilege::named(&word.name) {
        Some(privilege) => Ok((privilege, word.position)),
        None => {
            let known = Privilege::ALL.map(|(_, _, word)| word).join(", ");
            Err(Error::syntax(format!("unrecognized privilege type \"{}\"", word.name))
                .with_hint(format!("There are {known} and ALL."))
                .at(word.position))
        }
    });
    named.collect::<Result<_>>().map(Some)
}

/// What stands behind ON.
fn objects(cursor: &mut Cursor<'_>) -> Result<Vec<ObjectName>> {
    let position = cursor.position();
    if cursor.take_words(&["all"]) {
        let functions = match cursor.peek_word().as_deref() {
            Some("tables" | "views" | "sources" | "relations") => false,
            Some("functions" | "routines") => true,
            _ => return Err(cursor.unexpected("TABLES or FUNCTIONS")),
        };
        cursor.advance();
        cursor.expect_words(&["in", "schema"])?;
        let in_schema = if functions { ObjectName::FunctionsIn } else { ObjectName::RelationsIn };
        return Ok(names(cursor)?.into_iter().map(in_schema).collect());
    }
    if cursor.take_words(&["schema"]) {
        return Ok(names(cursor)?.into_iter().map(ObjectName::Schema).collect());
    }
    if cursor.take_words(&["database"]) {
        return Ok(names(cursor)?.into_iter().map(ObjectName::Database).collect());
    }
    if cursor.peek_is_word("secret") && matches!(cursor.peek_nth(1), Some(Token::Word(_))) {
        let ends = cursor.peek_nth_is_word(1, "to") || cursor.peek_nth_is_word(1, "from");
        if !ends {
            cursor.advance();
            return Ok(names(cursor)?.into_iter().map(ObjectName::Secret).collect());
        }
    }
    for word in ["sequence", "language", "type", "domain", "tablespace", "parameter", "large", "foreign", "procedure"] {
        if cursor.peek_is_word(word) && matches!(cursor.peek_nth(1), Some(Token::Word(_))) {
            return Err(Error::unsupported(format!("privileges on a {word} are not supported"))
                .with_hint("There are privileges on relations, functions, schemas, secrets and the database.")
                .at(position));
        }
    }
    // PostgreSQL calls everything that has rows a table.
    let kind = object_kind(cursor, false).filter(|kind| *kind != ObjectKind::Table);
    let one = |cursor: &mut Cursor<'_>| match kind {
        Some(kind) => Ok(ObjectName::Relation(Some(kind), name_of(cursor, kind)?)),
        None => Ok::<_, Error>(ObjectName::Relation(None, cursor.name()?)),
    };
    let mut objects = vec![one(cursor)?];
    while cursor.take(&Token::Comma) {
        objects.push(one(cursor)?);
    }
    Ok(objects)
}

/// `OWNER TO role`, behind ALTER kind name, if it is next.
pub(super) fn owner(cursor: &mut Cursor<'_>, object: ObjectName) -> Result<Option<Statement>> {
    if !cursor.take_words(&["owner", "to"]) {
        return Ok(None);
    }
    Ok(Some(said(AccessStatement::Owner { object, role: role_name(cursor)? })))
}

/// `GRANTED BY role`: only who one is may stand there.
fn granted_by(cursor: &mut Cursor<'_>) -> Result<()> {
    let position = cursor.position();
    if !cursor.take_words(&["granted", "by"]) {
        return Ok(());
    }
    match role_name(cursor)? {
        RoleName::CurrentUser => Ok(()),
        RoleName::Named(_) | RoleName::SessionUser | RoleName::Public { .. } => {
            Err(Error::unsupported("GRANTED BY another role is not supported")
                .with_hint("SET ROLE to that role first.")
                .at(position))
        }
    }
}
