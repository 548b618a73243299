//! `pg_get_keywords()`: the words that the parser knows. Drivers ask for them to quote names.

use sqlparser::keywords::{ALL_KEYWORDS, Keyword, RESERVED_FOR_COLUMN_ALIAS, RESERVED_FOR_TABLE_ALIAS};

/// What it is called.
pub(super) const FUNCTION: &str = "pg_get_keywords";

/// A query of its rows: word, category as letter, whether the word can be a label without AS, both in words.
pub(super) fn rows() -> String {
    let row = |word: &&str| {
        let is = |keyword: &Keyword| format!("{keyword:?}") == **word;
        let (table, column) = (RESERVED_FOR_TABLE_ALIAS.iter().any(is), RESERVED_FOR_COLUMN_ALIAS.iter().any(is));
        let (letter, category) = match table || column {
            true => ('R', "reserved"),
            false => ('U', "unreserved"),
        };
        let label = if column { "requires AS" } else { "can be bare label" };
        format!("('{}', '{letter}', {}, '{category}', '{label}')", word.to_lowercase(), !column)
    };
    let rows: Vec<String> = ALL_KEYWORDS.iter().map(row).collect();
    format!("SELECT * FROM (VALUES {}) AS keywords (word, catcode, barelabel, catdesc, baredesc)", rows.join(", "))
}
