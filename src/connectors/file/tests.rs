//! The file connector against files that grow, vanish and change; and resuming at every position.

use super::*;
use crate::connectors::Piece;

fn framing() -> Framing {
    let last_end = Arc::new(|bytes: &[u8]| memchr::memrchr(b'\n', bytes).map(|end| end + 1));
    Framing::Records { last_end, header: false }
}

fn source(path: String, follow: Follow, block_bytes: usize) -> FileSource {
    FileSource::new(FileSourceOptions { follow, block_bytes, record_bytes_max: 20, ..FileSourceOptions::new(path) })
        .unwrap()
}

/// What comes from `position` on, until nothing does: (text, position behind it), and the piece that was last.
fn read(
    source: &FileSource,
    position: &Position,
    until: Option<&Position>,
) -> Result<(Vec<(String, Position)>, Piece)> {
    let split = SplitId(FileSource::SPLIT.into());
    let mut reader = source.open(&split, position, framing())?;
    let mut found = Vec::new();
    loop {
        match reader.next(until)? {
            Piece::Block(block) => {
                let text = String::from_utf8(block.bytes.to_vec()).unwrap();
                found.push((text, block.place.position(block.bytes.len() as u64)));
            }
            Piece::Oversize(record) => {
                found.push((format!("<{}>", record.length), record.place.position(record.length)));
            }
            last => return Ok((found, last)),
        }
    }
}

#[test]
fn resumes_at_every_position() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.txt"), "one\ntwo\n\nthree without end").unwrap();
    std::fs::write(dir.path().join("b.txt"), format!("{}\nlast\n", "x".repeat(99))).unwrap();
    std::fs::write(dir.path().join("c.txt"), "").unwrap();
    for block_bytes in [1, 3, 8, 1000] {
        let source = source(format!("{}/*.txt", dir.path().display()), Follow::No, block_bytes);
        let start = FilePosition::start().position();
        let (all, last) = read(&source, &start, None).unwrap();
        assert!(matches!(last, Piece::End));
        let text: String = all.iter().map(|(text, _)| text.as_str()).collect();
        // A record that came whole is judged by the format, which knows the same limit.
        let long = if block_bytes == 1000 { "x".repeat(99) + "\n" } else { "<100>".into() };
        assert_eq!(text, format!("one\ntwo\n\nthree without end{long}last\n"));
        for (index, (_, position)) in all.iter().enumerate() {
            let (rest, _) = read(&source, position, None).unwrap();
            let expected: String = all[index + 1..].iter().map(|(text, _)| text.as_str()).collect();
            assert_eq!(rest.iter().map(|(text, _)| text.as_str()).collect::<String>(), expected);
            let (before, last) = read(&source, &start, Some(position)).unwrap();
            assert!(matches!(last, Piece::Bound));
            assert_eq!(before.last().map(|(_, end)| end), Some(position));
        }
    }
}

#[test]
fn follows_and_notices_changes() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let source = source(format!("{}/*.txt", dir.path().display()), Follow::Yes, 1000);
    let start = FilePosition::start().position();
    assert!(matches!(read(&source, &start, None).unwrap(), (found, Piece::Wait) if found.is_empty()));
    std::fs::write(path("b.txt"), "one\nhalf").unwrap();
    let (found, last) = read(&source, &start, None).unwrap();
    assert!(matches!(last, Piece::Wait) && found.len() == 1 && found[0].0 == "one\n");
    std::fs::write(path("c.txt"), "next\n").unwrap();
    let (found, _) = read(&source, &start, None).unwrap();
    assert_eq!(found.iter().map(|(text, _)| text.as_str()).collect::<String>(), "one\nhalfnext\n");
    let end = found.last().unwrap().1.clone();
    std::fs::write(path("a.txt"), "too late\n").unwrap();
    assert!(read(&source, &end, None).unwrap_err().message().contains("appeared before"));
    std::fs::remove_file(path("a.txt")).unwrap();
    assert!(read(&source, &end, None).is_ok());
    std::fs::write(path("c.txt"), "n").unwrap();
    assert!(read(&source, &end, None).unwrap_err().message().contains("shorter"));
    std::fs::remove_file(path("c.txt")).unwrap();
    assert_eq!(read(&source, &end, None).unwrap_err().kind(), crate::base::ErrorKind::Unavailable);
    assert!(FileSource::new(FileSourceOptions::new(path("nothing").display().to_string())).is_err());
}

#[test]
fn a_whole_file_is_read_bound_after_bound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet").display().to_string();
    std::fs::write(&path, b"framed by its format").unwrap();
    let source = source(path.clone(), Follow::No, 1024);
    let split = SplitId(FileSource::SPLIT.into());
    let mut reader = source.open(&split, &FilePosition::start().position(), Framing::Whole).unwrap();
    let mut rows = |until: Option<u64>| {
        let until = until.map(|place| FilePosition { file: 0, place, name: path.clone() }.position());
        match reader.next(until.as_ref()).unwrap() {
            Piece::File(piece) => Some((piece.from_row, piece.until_row)),
            Piece::Bound | Piece::End => None,
            _ => panic!("pieces of whole files were expected"),
        }
    };
    assert_eq!(rows(Some(10)), Some((0, Some(10))));
    assert_eq!(rows(Some(10)), None, "the bound is reached");
    assert_eq!(rows(Some(25)), Some((10, Some(25))));
    assert_eq!(rows(None), Some((25, None)));
    assert_eq!(rows(None), None, "the file has ended");
}
