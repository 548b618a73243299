//! Names and numbers of objects, both ways: what `regclass`, `regtype` and their kin read and print.

use std::sync::Arc;

use super::definitions::index_name;
use super::{Facts, roles};
use crate::base::{Error, Result, sqlstate};
use crate::catalog::postgres::{
    OWNER, io_functions, key_index_oid, named_oid, pg_type, pg_type_named, pg_types, relation_of_oid, relation_oid,
    schema_oid,
};
use crate::catalog::{Relation, RelationKind, schemas};

/// Kinds of objects whose numbers have a type of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reg {
    Class,
    Type,
    Namespace,
    Role,
    Proc,
    Collation,
    /// Kinds of which there are none here: operators, text search.
    None,
}

/// Types that hold the number of an object, by their names.
pub(super) const REGS: [(&str, Reg); 10] = [
    ("regclass", Reg::Class),
    ("regtype", Reg::Type),
    ("regnamespace", Reg::Namespace),
    ("regrole", Reg::Role),
    ("regproc", Reg::Proc),
    ("regprocedure", Reg::Proc),
    ("regcollation", Reg::Collation),
    ("regoper", Reg::None),
    ("regoperator", Reg::None),
    ("regconfig", Reg::None),
];

/// The two parts of a name: `public."T"`, folded to lower case where not quoted.
pub(super) fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = text.trim().chars().peekable();
    let mut quoted = false;
    while let Some(character) = characters.next() {
        let last = parts.len() - 1;
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                parts[last].push('"');
            }
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            // Around a point, spaces mean nothing.
            ' ' if !quoted
                && (parts[last].is_empty() || characters.peek().is_some_and(|next| [' ', '.'].contains(next))) => {}
            character if quoted => parts[last].push(character),
            character => parts[last].extend(character.to_lowercase()),
        }
    }
    parts
}

/// The number of the object that `text` names; `None` when there is none.
pub(super) fn find(reg: Reg, text: &str, facts: &Facts) -> Option<u32> {
    if let Ok(number) = text.trim().parse::<u32>() {
        return Some(number);
    }
    if text.trim() == "-" {
        return Some(0);
    }
    let parts = parts(text);
    let (schema, name) = match parts.as_slice() {
        [name] => (None, name.as_str()),
        [schema, name] => (Some(schema.as_str()), name.as_str()),
        [_, schema, name] => (Some(schema.as_str()), name.as_str()),
        _ => return None,
    };
    match reg {
        Reg::Class => class(schema, name, facts),
        Reg::Type => type_number(text.trim(), schema, name),
        Reg::Namespace => facts.catalog.has_schema(name).then(|| schema_oid(name)),
        Reg::Role => roles::all(facts).contains_key(name).then(|| role(name)),
        Reg::Proc => {
            let name = name.split('(').next().unwrap_or(name);
            let users = facts.catalog.relations().filter(|relation| relation.kind == RelationKind::Function);
            if let Some(function) = users.into_iter().find(|function| bare_name(&function.name) == name) {
                return Some(relation_oid(function));
            }
            let known = facts.functions.iter().any(|(known, _)| known == name);
            io_functions()
                .find(|(_, io)| *io == name)
                .map(|(oid, _)| oid)
                .or_else(|| known.then(|| named_oid("function", name)))
        }
        Reg::Collation => ["default", "C", "c", "POSIX", "posix"]
            .iter()
            .position(|known| *known == name)
            .map(|at| [100, 950, 950, 951, 951][at]),
        Reg::None => None,
    }
}

/// The number of a role.
pub(super) fn role(name: &str) -> u32 {
    if name == OWNER.1 { OWNER.0 } else { named_oid("role", name) }
}

fn class(schema: Option<&str>, name: &str, facts: &Facts) -> Option<u32> {
    if let Some(found) = facts.catalog.find(schema, name) {
        return Some(relation_oid(&found));
    }
    let named = |relation: &&Arc<Relation>| {
        has_key_index(relation)
            && index_name(relation) == name
            && schema
                .map_or_else(|| facts.catalog.path().contains(&relation.schema_name), |s| relation.schema_name == s)
    };
    facts.catalog.relations().find(named).map(|relation| key_index_oid(relation))
}

/// Whether a relation has a primary key that is shown as an index.
pub(super) fn has_key_index(relation: &Relation) -> bool {
    relation.kind == RelationKind::Table && !relation.primary_key.is_empty()
}

fn type_number(text: &str, schema: Option<&str>, name: &str) -> Option<u32> {
    if schema.is_some_and(|schema| schema != schemas::POSTGRES) {
        return None;
    }
    let text = if schema.is_some() { name } else { text };
    if let Some(element) = text.strip_suffix("[]") {
        let element = pg_type(type_number(element.trim(), None, element.trim())?)?;
        return Some(element.array).filter(|&array| array > 0);
    }
    let bare = text.split('(').next().unwrap_or(text).trim().to_lowercase();
    let printed = |oid: u32| type_name(oid, -1) == bare;
    let synonyms = [("int", 23), ("decimal", 1700), ("float", 701), ("char", 1042), ("\"char\"", 18)];
    let synonym = synonyms.iter().find(|(known, _)| *known == bare).map(|(_, oid)| *oid);
    synonym
        .or_else(|| pg_type_named(&bare).map(|ty| ty.oid))
        .or_else(|| pg_types().iter().map(|ty| ty.oid).find(|&oid| printed(oid)))
}

/// `format_type`: the name that SQL has for a type.
pub(super) fn type_name(oid: u32, modifier: i32) -> String {
    let Some(ty) = pg_type(oid) else { return "???".to_string() };
    if ty.category == "A" && ty.element > 0 && ty.name.starts_with('_') {
        return format!("{}[]", type_name(ty.element, modifier));
    }
    let name = match ty.name {
        "bool" => "boolean",
        "int2" => "smallint",
        "int4" => "integer",
        "int8" => "bigint",
        "float4" => "real",
        "float8" => "double precision",
        "char" => "\"char\"",
        "bpchar" => "character",
        "varchar" => "character varying",
        "time" => "time without time zone",
        "timetz" => "time with time zone",
        "timestamp" => "timestamp without time zone",
        "timestamptz" => "timestamp with time zone",
        "any" => "\"any\"",
        "numeric" if modifier >= 4 => {
            let packed = modifier - 4;
            return format!("numeric({},{})", packed >> 16, packed & 0xffff);
        }
        name => name,
    };
    name.to_string()
}

/// The name of the object with that number, as its type prints it; the number when there is none.
pub(super) fn name(reg: Reg, oid: u32, facts: &Facts) -> String {
    let found = match reg {
        _ if oid == 0 => Some("-".to_string()),
        Reg::Class => class_name(oid, facts),
        Reg::Type => pg_type(oid).map(|_| type_name(oid, -1)),
        Reg::Namespace => facts.catalog.schemas().find(|name| schema_oid(name) == oid).map(quote),
        Reg::Role => role_name(oid, facts).map(quote),
        Reg::Proc => function_name(oid, facts).map(str::to_string),
        Reg::Collation => match oid {
            100 => Some("\"default\"".to_string()),
            950 => Some("\"C\"".to_string()),
            951 => Some("\"POSIX\"".to_string()),
            _ => None,
        },
        Reg::None => None,
    };
    found.unwrap_or_else(|| oid.to_string())
}

/// The function with that number.
pub(super) fn function_name(oid: u32, facts: &Facts) -> Option<&str> {
    let io = io_functions().find(|(io, _)| *io == oid).map(|(_, name)| name);
    let users =
        || facts.catalog.relations().find(|made| made.kind == RelationKind::Function && relation_oid(made) == oid);
    io.or_else(|| facts.functions.iter().map(|(name, _)| name.as_str()).find(|name| named_oid("function", name) == oid))
        .or_else(|| users().map(|made| bare_name(&made.name)))
}

/// The name of a function, which is kept with the types of its parameters: `twice(bigint)`.
fn bare_name(name: &str) -> &str {
    name.split('(').next().unwrap_or(name)
}

/// The role with that number.
pub(super) fn role_name(oid: u32, facts: &Facts) -> Option<&str> {
    roles::all(facts).into_keys().find(|name| role(name) == oid)
}

fn class_name(oid: u32, facts: &Facts) -> Option<String> {
    let (schema, name) = match relation_of_oid(&facts.catalog, oid) {
        Some(relation) => (relation.schema_name.clone(), relation.name.clone()),
        None => {
            let relation = facts.catalog.relations().find(|r| has_key_index(r) && key_index_oid(r) == oid)?;
            (relation.schema_name.clone(), index_name(relation))
        }
    };
    if is_visible(&schema, &name, facts) {
        return Some(quote(&name));
    }
    Some(format!("{}.{}", quote(&schema), quote(&name)))
}

/// Whether the relation `name` of `schema` is found without naming the schema.
pub(super) fn is_visible(schema: &str, name: &str, facts: &Facts) -> bool {
    match facts.catalog.find(None, name) {
        Some(found) => found.schema_name == schema,
        None => facts.catalog.path().iter().any(|path| path == schema),
    }
}

/// Whether a relation with that number is found by its name alone; `None` when there is none.
pub(super) fn is_visible_oid(oid: u32, facts: &Facts) -> Option<bool> {
    if let Some(relation) = relation_of_oid(&facts.catalog, oid) {
        return Some(is_visible(&relation.schema_name, &relation.name, facts));
    }
    let relation =
        facts.catalog.relations().find(|relation| has_key_index(relation) && key_index_oid(relation) == oid)?;
    Some(is_visible(&relation.schema_name, &index_name(relation), facts))
}

/// Words that PostgreSQL reads as names only in quotes.
const RESERVED: &str = "all analyse analyze and any array as asc asymmetric authorization between bigint binary bit \
    boolean both case cast char character check coalesce collate collation column concurrently constraint create cross \
    current_catalog current_date current_role current_schema current_time current_timestamp current_user dec decimal \
    default deferrable desc distinct do else end except exists extract false fetch float for foreign freeze from full \
    grant greatest group grouping having ilike in initially inner inout int integer intersect interval into is isnull \
    join lateral leading least left like limit localtime localtimestamp national natural nchar none normalize not \
    notnull null nullif numeric offset on only or order out outer overlaps overlay placing position precision primary \
    real references returning right row select session_user setof similar smallint some substring symmetric \
    system_user table tablesample then time timestamp to trailing treat trim true union unique user using values \
    varchar variadic verbose when where window with";

/// A name as SQL has to write it.
pub(super) fn quote(name: &str) -> String {
    let plain = |ch: char| ch.is_ascii_lowercase() || ch.is_ascii_digit() || ch == '_';
    let begins = name.starts_with(|ch: char| ch.is_ascii_lowercase() || ch == '_');
    if begins && name.chars().all(plain) && !RESERVED.split_whitespace().any(|word| word == name) {
        return name.to_string();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `relation "x" does not exist` and the like.
pub(super) fn missing(reg: Reg, text: &str) -> Error {
    let (noun, code) = match reg {
        Reg::Class => ("relation", sqlstate::UNDEFINED_TABLE),
        Reg::Type => ("type", sqlstate::UNDEFINED_OBJECT),
        Reg::Namespace => ("schema", sqlstate::INVALID_SCHEMA_NAME),
        Reg::Role => ("role", sqlstate::UNDEFINED_OBJECT),
        Reg::Proc => ("function", sqlstate::UNDEFINED_FUNCTION),
        Reg::Collation => ("collation", sqlstate::UNDEFINED_OBJECT),
        Reg::None => ("object", sqlstate::UNDEFINED_OBJECT),
    };
    Error::invalid(format!("{noun} \"{text}\" does not exist")).with_code(code)
}

/// As [`find`]; fails when there is none.
pub(super) fn require(reg: Reg, text: &str, facts: &Facts) -> Result<u32> {
    find(reg, text, facts).ok_or_else(|| missing(reg, text))
}
