//! The token rules of our SQL: PostgreSQL's, plus the few spellings of streaming SQL that sqlparser asks a dialect about.

use std::any::TypeId;

use sqlparser::ast::{Expr, Ident, UnaryOperator};
use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

/// PostgreSQL's dialect with table versions, `TABLE x` as an argument, and aliases that leave `EMIT` alone.
/// It says it *is* PostgreSQL's (`dialect()`), so that every branch sqlparser takes for that dialect stays on.
#[derive(Debug, Default)]
pub(super) struct MillstreamDialect {
    postgres: PostgreSqlDialect,
}

macro_rules! as_postgres {
    ($($method:ident),* $(,)?) => { $(
        fn $method(&self) -> bool {
            self.postgres.$method()
        }
    )* };
}

impl Dialect for MillstreamDialect {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        self.postgres.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        self.postgres.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        self.postgres.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        self.postgres.is_identifier_part(ch)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        self.postgres.is_reserved_for_identifier(keyword)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        self.postgres.is_custom_operator_part(ch)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        self.postgres.prec_value(precedence)
    }

    /// `STRUCT<a INT, b VARCHAR>` as the type of a column.
    fn supports_struct_literal(&self) -> bool {
        true
    }

    as_postgres!(
        supports_unicode_string_literal,
        supports_filter_during_aggregation,
        supports_group_by_expr,
        allow_extract_custom,
        allow_extract_single_quotes,
        supports_create_index_with_clause,
        supports_explain_with_utility_options,
        supports_listen_notify,
        supports_factorial_operator,
        supports_bitwise_shift_operators,
        supports_comment_on,
        supports_load_extension,
        supports_named_fn_args_with_colon_operator,
        supports_named_fn_args_with_expr_name,
        supports_empty_projections,
        supports_nested_comments,
        supports_string_escape_constant,
        supports_numeric_literal_underscores,
        supports_array_typedef_with_brackets,
        supports_geometric_types,
        supports_set_names,
        supports_alter_column_type_using,
        supports_notnull_operator,
        supports_interval_options,
        supports_insert_table_alias,
        supports_create_table_like_parenthesized,
        supports_select_wildcard_with_alias,
        supports_comma_separated_trim,
        supports_xml_expressions,
        supports_comment_optimizer_hint,
    );

    // `FOR SYSTEM_TIME AS OF` is parsed so that it can be refused by name and place.
    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn supports_match_recognize(&self) -> bool {
        true
    }

    /// `FROM t EMIT ON WINDOW CLOSE` does not call the table "emit".
    fn is_table_factor_alias(&self, explicit: bool, keyword: &Keyword, parser: &mut Parser) -> bool {
        // The word itself is already consumed when sqlparser asks.
        parser.prev_token();
        let word = parser.peek_token().token;
        let after = parser.peek_nth_token(1).token;
        parser.next_token();
        if !explicit && is_word(&word, "emit") && is_word(&after, "on") {
            return false;
        }
        explicit || self.is_table_alias(keyword, parser)
    }

    /// A minus sign binds closer than `^`, as in PostgreSQL. `TABLE bids` as an argument (`TUMBLE(TABLE bids, ...)`): only the
    /// planner of window functions takes it.
    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        if parser.peek_token_ref().token == Token::Minus {
            return Some(parse_minus(parser, self.prec_value(Precedence::Caret)));
        }
        if !is_word(&parser.peek_token().token, "table") || !matches!(parser.peek_nth_token(1).token, Token::Word(_)) {
            return None;
        }
        Some(parse_table_argument(parser))
    }

    /// `bids PARTITION BY bidder` as an argument.
    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        match at_partition(parser) {
            true => Some(Ok(PARTITION_PRECEDENCE)),
            false => self.postgres.get_next_precedence(parser),
        }
    }

    /// Also `a IS DISTINCT FROM b AND c`: sqlparser takes `b AND c` for what is compared.
    fn parse_infix(&self, parser: &mut Parser, expr: &Expr, _: u8) -> Option<Result<Expr, ParserError>> {
        if let Some(negated) = at_distinct(parser) {
            return Some(parse_distinct(parser, expr, negated, self.prec_value(Precedence::Is)));
        }
        at_partition(parser).then(|| parse_partition(parser, expr))
    }
}

/// It binds weaker than every operator.
const PARTITION_PRECEDENCE: u8 = 1;

fn at_partition(parser: &Parser) -> bool {
    is_word(&parser.peek_token_ref().token, "partition") && is_word(&parser.peek_nth_token(1).token, "by")
}

/// `PARTITION BY column` or `PARTITION BY (column, ...)` behind `data`.
fn parse_partition(parser: &mut Parser, data: &Expr) -> Result<Expr, ParserError> {
    let keyword = parser.next_token();
    parser.next_token();
    let mut parts = vec![data.clone()];
    match parser.parse_expr()? {
        Expr::Nested(key) => parts.push(*key),
        Expr::Tuple(keys) => parts.extend(keys),
        key => parts.push(key),
    }
    let mark = Ident { value: PARTITION_ARGUMENT.to_string(), quote_style: None, span: keyword.span };
    Ok(Expr::Named { expr: Box::new(Expr::Tuple(parts)), name: mark })
}

fn parse_minus(parser: &mut Parser, caret: u8) -> Result<Expr, ParserError> {
    parser.next_token();
    Ok(Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(parser.parse_subexpr(caret)?) })
}

/// Whether `IS DISTINCT FROM` comes, or `IS NOT DISTINCT FROM` (`true`).
fn at_distinct(parser: &Parser) -> Option<bool> {
    let is = |at: usize, word: &str| is_word(&parser.peek_nth_token_ref(at).token, word);
    match is(0, "is") {
        true if is(1, "distinct") && is(2, "from") => Some(false),
        true if is(1, "not") && is(2, "distinct") && is(3, "from") => Some(true),
        _ => None,
    }
}

fn parse_distinct(parser: &mut Parser, left: &Expr, negated: bool, precedence: u8) -> Result<Expr, ParserError> {
    for _ in 0..3 + usize::from(negated) {
        parser.next_token();
    }
    let (left, right) = (Box::new(left.clone()), Box::new(parser.parse_subexpr(precedence)?));
    Ok(if negated { Expr::IsNotDistinctFrom(left, right) } else { Expr::IsDistinctFrom(left, right) })
}

fn parse_table_argument(parser: &mut Parser) -> Result<Expr, ParserError> {
    let keyword = parser.next_token();
    let name = parser.parse_object_name(false)?;
    let idents = name.0.iter().filter_map(|part| part.as_ident().cloned()).collect();
    let mark = Ident { value: TABLE_ARGUMENT.to_string(), quote_style: None, span: keyword.span };
    Ok(Expr::Named { expr: Box::new(Expr::CompoundIdentifier(idents)), name: mark })
}

/// The name under which [`Expr::Named`] carries a `TABLE x` argument.
pub(super) const TABLE_ARGUMENT: &str = "__table";

/// The name under which [`Expr::Named`] carries a tuple: an argument, and the keys behind its PARTITION BY.
pub(super) const PARTITION_ARGUMENT: &str = "__partition";

/// Whether `token` is the unquoted word `word` (given in lower case).
pub(super) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}
