//! The manual's pages: every SQL block of `docs/sql/*.md` runs, in order, on one server per page, and answers what the
//! block of text behind it shows: rows with two spaces between values, or `ERROR` with its SQLSTATE and text.
//! `MILLSTREAM_BLESS=1` writes the answers into the pages, for a reader to review.

use std::path::{Path, PathBuf};

use crate::harness::{Db, Server, block_on};

fn pages() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sql");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    pages.sort();
    assert!(!pages.is_empty());
    pages
}

async fn answer(db: &Db, sql: &str) -> String {
    match db.try_rows(sql).await {
        Ok(rows) => rows.iter().map(|row| row.join("  ") + "\n").collect(),
        Err(error) => match error.as_db_error() {
            Some(error) => {
                let hint = error.hint().map(|hint| format!("HINT: {hint}\n")).unwrap_or_default();
                format!("ERROR {}: {}\n{hint}", error.code().code(), error.message())
            }
            None => panic!("{sql}: {error}"),
        },
    }
}

/// The page with the answers that its statements give now.
async fn answered(db: &Db, page: &str) -> String {
    let mut made = String::new();
    let mut rest = page;
    while let Some(at) = rest.find("```sql\n") {
        let start = at + "```sql\n".len();
        let end = start + rest[start..].find("```").expect("a block ends");
        let after = end + "```\n".len();
        made.push_str(&rest[..after]);
        let found = answer(db, &rest[start..end]).await;
        rest = rest.get(after..).unwrap_or_default();
        match rest.strip_prefix("```text\n") {
            Some(text) => {
                let end = text.find("```").expect("a block ends");
                made.push_str(&format!("```text\n{found}"));
                rest = &text[end..];
            }
            None => assert!(!found.starts_with("ERROR"), "{found}in a block without an answer:\n{made}"),
        }
    }
    made + rest
}

#[test]
fn the_pages_say_what_happens() {
    for page in pages() {
        let server = Server::start(&[]);
        let text = std::fs::read_to_string(&page).unwrap();
        let made = block_on(async { answered(&server.connect().await, &text).await });
        if std::env::var_os("MILLSTREAM_BLESS").is_some() {
            std::fs::write(&page, made).unwrap();
            continue;
        }
        assert_eq!(made, text, "{}", page.display());
    }
}
