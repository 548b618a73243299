//! JSONB: golden bytes, order, text.

use super::*;

fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    from_text(text, &mut out).unwrap_or_else(|reason| panic!("{text}: {}", reason.message()));
    assert!(skip(&out).is_some_and(<[u8]>::is_empty), "{text}: {out:x?}");
    out
}

fn shown(text: &str) -> String {
    let mut out = String::new();
    to_text(&bytes(text), &mut out).unwrap();
    out
}

#[test]
fn golden_bytes() {
    let expected = [7, 0, 0, 0, 2, 0x61, 0, 2, 0x78, 0, 0x62, 0, 6, 0, 0, 0, 2, 3, 0x82, 0x80, 0, 0, 1, 11, 0, 0, 0, 1];
    assert_eq!(bytes(r#"{"b": [1, null], "a": "x"}"#), expected);
    assert_eq!(bytes("-1.5"), [3, 0x7e, 0x7f, 0xff, 0xff, 0xfe, !16, 0xff, 0, 1]);
}

#[test]
fn text_is_postgres() {
    let check = |text: &str, expected: &str| assert_eq!(shown(text), expected, "{text}");
    check(r#" {"bb":1, "a":[1.50,-2e3,1E-3] , "a" : {} }"#, r#"{"a": {}, "bb": 1}"#);
    check(
        "[1.50, -2e3, 1E-3, 0, -0.0, 0.10, 100, 123456789012345678901234567890.5]",
        "[1.50, -2000, 0.001, 0, 0.0, 0.10, 100, 123456789012345678901234567890.5]",
    );
    check(r#"["\u00e4\n", true, false, null, []]"#, r#"["ä\n", true, false, null, []]"#);
    let mut json = String::new();
    to_json(&bytes(r#"{"a": [1, 2]}"#), &mut json).unwrap();
    assert_eq!(json, r#"{"a":[1,2]}"#);
}

#[test]
fn bytes_sort_as_postgres_does() {
    let ordered = [
        "null",
        "\"\"",
        "\"a\"",
        "\"b\"",
        "-1e20",
        "-100",
        "-12",
        "-1.5",
        "-1.2",
        "-1",
        "-0.01",
        "-0.001",
        "0",
        "0.001",
        "0.01",
        "0.5",
        "1",
        "1.2",
        "1.5",
        "2",
        "10",
        "12",
        "100",
        "1e20",
        "false",
        "true",
        "[]",
        "[1]",
        "[2]",
        "[1, 1]",
        "{}",
        "{\"a\": 1}",
        "{\"b\": 0}",
        "{\"a\": 1, \"b\": 1}",
    ];
    let encoded: Vec<Vec<u8>> = ordered.iter().map(|text| bytes(text)).collect();
    for (pair, text) in encoded.windows(2).zip(ordered) {
        assert!(pair[0] < pair[1], "{text}");
    }
}

#[test]
fn containment() {
    let check = |left: &str, right: &str, expected: bool| {
        assert_eq!(contains(&bytes(left), &bytes(right)), expected, "{left} @> {right}");
    };
    check(r#"{"a": 1, "b": {"c": [1, 2]}}"#, r#"{"b": {"c": [2]}}"#, true);
    check("[1, 2, [1, 3]]", "[1, 3]", false);
    check("[1, 2, [1, 3]]", "[[1, 3]]", true);
    check("[1, 2]", "1", true);
    check("1", "[1]", false);
    check("[1.0]", "[1]", true);
    check(r#"{"a": [1]}"#, r#"{"a": 1}"#, false);
}

#[test]
fn refused() {
    for (text, code) in [
        ("", "22P02"),
        ("{", "22P02"),
        ("[1,]", "22P02"),
        ("'a'", "22P02"),
        ("\"\\u0000\"", "22P05"),
        ("1e999999", "22003"),
    ] {
        let found = from_text(text, &mut Vec::new()).unwrap_err();
        assert_eq!(found.code(), code, "{text}");
    }
}

#[test]
fn torn_bytes_read_as_null() {
    let whole = bytes(r#"{"a": [1.5, "x", {"b": null}]}"#);
    for end in 0..whole.len() {
        let mut out = String::new();
        to_text(&whole[..end], &mut out).unwrap();
        let _ = (field(&whole[..end], "a"), element(&whole[..end], 0), contains(&whole[..end], &whole));
    }
}
