//! Regular expressions, as PostgreSQL's but for back references, and SIMILAR TO.

use std::sync::Arc;

use regex::{Captures, Regex, RegexBuilder};

use super::{Function, Kind, Made, Returns, Row, Run, function};
use crate::base::sqlstate;
use crate::functions::fault::Reason;

use Kind::Text;
const TEXT: Returns = Returns::Type(Kind::Text);
const BOOL: Returns = Returns::Type(Kind::Bool);
const INT: Returns = Returns::Type(Kind::Int);

pub(super) const FUNCTIONS: &[Function] = &[
    function("regexp_like", &[Text, Text], BOOL, Run::Bool(|row| Ok(Some(regex(row, 1, 2)?.is_match(row.text(0)))))),
    function(
        "regexp_like",
        &[Text, Text, Text],
        BOOL,
        Run::Bool(|row| Ok(Some(regex(row, 1, 2)?.is_match(row.text(0))))),
    ),
    function(
        "regexp_count",
        &[Text, Text],
        INT,
        Run::Int(|row| Ok(Some(regex(row, 1, 9)?.find_iter(row.text(0)).count() as i64))),
    ),
    function("regexp_match", &[Text, Text], Returns::Texts, Run::Texts(first_match)),
    function("regexp_match", &[Text, Text, Text], Returns::Texts, Run::Texts(first_match)),
    function("regexp_substr", &[Text, Text], TEXT, Run::Text(substr)),
    function("regexp_instr", &[Text, Text], INT, Run::Int(instr)),
    function("regexp_replace", &[Text, Text, Text], TEXT, Run::Text(replace)),
    function("regexp_replace", &[Text, Text, Text, Text], TEXT, Run::Text(replace)),
    function("regexp_split_to_array", &[Text, Text], Returns::Texts, Run::Texts(split)),
    function("regexp_split_to_array", &[Text, Text, Text], Returns::Texts, Run::Texts(split)),
    function("substring", &[Text, Text], TEXT, Run::Text(substring)),
    function("__similar", &[Text, Text], BOOL, Run::Bool(similar)),
    function("__similar", &[Text, Text, Text], BOOL, Run::Bool(similar)),
    function("__match", &[Text, Text], BOOL, Run::Bool(|row| Ok(Some(regex(row, 1, 9)?.is_match(row.text(0)))))),
    function(
        "__imatch",
        &[Text, Text],
        BOOL,
        Run::Bool(|row| Ok(Some(compiled(row, row.text(1), "i")?.is_match(row.text(0))))),
    ),
];

const SIZE_MAX: usize = 4 << 20;
/// Bytes of a pattern: a worker compiles it while others wait.
const PATTERN_MAX: usize = 64 << 10;

fn invalid(what: impl std::fmt::Display) -> Reason {
    Reason::new(sqlstate::INVALID_REGULAR_EXPRESSION, format!("invalid regular expression: {what}"))
}

/// The expression of argument `pattern` with the flags of argument `flags`, if that is there.
fn regex(row: &Row<'_>, pattern: usize, flags: usize) -> Result<Arc<Regex>, Reason> {
    compiled(row, row.text(pattern), if flags < row.len() { row.text(flags) } else { "" })
}

fn compiled(row: &Row<'_>, pattern: &str, flags: &str) -> Result<Arc<Regex>, Reason> {
    row.regex(pattern, flags, || bounded(pattern).and_then(|()| build(pattern, flags)))
}

/// The expression in the library's own spelling, which is near to Java's: a dot ends at lines.
pub(super) fn java(row: &Row<'_>, pattern: &str) -> Result<Arc<Regex>, Reason> {
    let build = || RegexBuilder::new(pattern).size_limit(SIZE_MAX).build().map_err(invalid);
    row.regex(pattern, "java", || bounded(pattern).and_then(|()| build()))
}

fn bounded(pattern: &str) -> Result<(), Reason> {
    if pattern.len() <= PATTERN_MAX {
        return Ok(());
    }
    Err(invalid(format!("it has {} bytes, at most {PATTERN_MAX} are compiled", pattern.len())))
}

/// PostgreSQL's flags: a dot matches a line end, and `^` only the beginning, unless one says otherwise.
fn build(pattern: &str, flags: &str) -> Result<Regex, Reason> {
    let (mut insensitive, mut lines, mut dot, mut literal, mut extended) = (false, false, true, false, false);
    for flag in flags.chars() {
        match flag {
            'i' => insensitive = true,
            'c' => insensitive = false,
            'n' | 'm' => (lines, dot) = (true, false),
            'p' => (lines, dot) = (false, false),
            'w' => (lines, dot) = (true, true),
            's' => (lines, dot) = (false, true),
            'x' => extended = true,
            't' => extended = false,
            'q' => literal = true,
            'g' | 'e' | 'b' => {}
            other => {
                let message = format!("invalid regular expression option: \"{other}\"");
                return Err(Reason::new(sqlstate::INVALID_PARAMETER_VALUE, message));
            }
        }
    }
    let text = if literal { regex::escape(pattern) } else { translated(pattern)? };
    RegexBuilder::new(&text)
        .case_insensitive(insensitive)
        .multi_line(lines)
        .dot_matches_new_line(dot)
        .ignore_whitespace(extended)
        .size_limit(SIZE_MAX)
        .build()
        .map_err(|error| invalid(error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ")))
}

/// PostgreSQL's escapes in those of the library.
fn translated(pattern: &str) -> Result<String, Reason> {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('m') => out.push_str(r"\b{start}"),
            Some('M') => out.push_str(r"\b{end}"),
            Some('y') => out.push_str(r"\b"),
            Some('Y') => out.push_str(r"\B"),
            Some('Z') => out.push_str(r"\z"),
            Some('B') => out.push_str(r"\\"),
            Some('1'..='9') => {
                return Err(Reason::new(
                    sqlstate::FEATURE_NOT_SUPPORTED,
                    "a back reference in a regular expression is not supported",
                ));
            }
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => return Err(invalid("invalid escape \\ sequence")),
        }
    }
    Ok(out)
}

/// The whole match if there are no groups, else the groups.
fn push_groups(found: &Captures<'_>, out: &mut Vec<Option<String>>) {
    let from = usize::from(found.len() > 1);
    out.extend(found.iter().skip(from).map(|group| group.map(|group| group.as_str().to_owned())));
}

fn first_match(row: &Row<'_>, out: &mut Vec<Option<String>>) -> Made<()> {
    if row.len() > 2 && row.text(2).contains('g') {
        return Err(Reason::new(
            sqlstate::INVALID_PARAMETER_VALUE,
            "regexp_match() does not support the \"global\" option",
        ));
    }
    let regex = regex(row, 1, 2)?;
    Ok(regex.captures(row.text(0)).map(|found| push_groups(&found, out)))
}

fn substr(row: &Row<'_>, out: &mut String) -> Made<()> {
    Ok(regex(row, 1, 9)?.find(row.text(0)).map(|found| out.push_str(found.as_str())))
}

fn instr(row: &Row<'_>) -> Made<i64> {
    let text = row.text(0);
    let found = regex(row, 1, 9)?.find(text).map(|found| found.start());
    Ok(Some(found.map_or(0, |at| text.get(..at).unwrap_or_default().chars().count() as i64 + 1)))
}

/// The first group, or the match if there is none.
fn substring(row: &Row<'_>, out: &mut String) -> Made<()> {
    let regex = regex(row, 1, 9)?;
    let Some(found) = regex.captures(row.text(0)) else { return Ok(None) };
    let group = if found.len() > 1 { found.get(1) } else { found.get(0) };
    Ok(group.map(|group| out.push_str(group.as_str())))
}

fn replace(row: &Row<'_>, out: &mut String) -> Made<()> {
    let flags = if row.len() > 3 { row.text(3) } else { "" };
    let regex = compiled(row, row.text(1), flags)?;
    let (text, with) = (row.text(0), row.text(2));
    let mut from = 0;
    for found in regex.captures_iter(text).take(if flags.contains('g') { usize::MAX } else { 1 }) {
        let Some(whole) = found.get(0) else { continue };
        out.push_str(text.get(from..whole.start()).unwrap_or_default());
        expand(with, &found, out);
        from = whole.end();
    }
    out.push_str(text.get(from..).unwrap_or_default());
    Ok(Some(()))
}

/// Appends a replacement: `\1` is a group, `\&` the match.
fn expand(with: &str, found: &Captures<'_>, out: &mut String) {
    let mut chars = with.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('&') => out.push_str(found.get(0).map_or("", |group| group.as_str())),
            Some(digit @ '0'..='9') => {
                let group = found.get(digit as usize - '0' as usize);
                out.push_str(group.map_or("", |group| group.as_str()));
            }
            Some('\\') => out.push('\\'),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
}

fn split(row: &Row<'_>, out: &mut Vec<Option<String>>) -> Made<()> {
    let regex = regex(row, 1, 2)?;
    let text = row.text(0);
    let mut from = 0;
    for found in regex.find_iter(text) {
        // An empty match at the beginning or end, or behind another, divides nothing.
        if found.is_empty()
            && (found.start() == from || found.end() == text.len())
            && (found.start() == 0 || found.end() == text.len())
        {
            continue;
        }
        out.push(text.get(from..found.start()).map(str::to_owned));
        from = found.end();
    }
    out.push(text.get(from..).map(str::to_owned));
    Ok(Some(()))
}

fn similar(row: &Row<'_>) -> Made<bool> {
    let escape = if row.len() > 2 { row.text(2).chars().next() } else { Some('\\') };
    let pattern = row.text(1);
    let key = if row.len() > 2 { row.text(2) } else { "\\" };
    let regex = row.regex(pattern, key, || {
        let mut text = String::from("^(?:");
        let (mut chars, mut in_set) = (pattern.chars(), false);
        while let Some(c) = chars.next() {
            match c {
                c if Some(c) == escape => {
                    let next = chars.next().ok_or_else(|| invalid("invalid escape sequence"))?;
                    text.push_str(&regex::escape(next.encode_utf8(&mut [0; 4])));
                }
                '%' if !in_set => text.push_str(".*"),
                '_' if !in_set => text.push('.'),
                '.' | '^' | '$' | '\\' if !in_set => {
                    text.push('\\');
                    text.push(c);
                }
                c => {
                    in_set = (in_set || c == '[') && c != ']';
                    text.push(c);
                }
            }
        }
        text.push_str(")$");
        RegexBuilder::new(&text).dot_matches_new_line(true).size_limit(SIZE_MAX).build().map_err(invalid)
    })?;
    Ok(Some(regex.is_match(row.text(0))))
}
