//! Reads Rust sources as far as the judge needs: comments and strings blanked, then identifiers, paths and braces.

use std::path::Path;

/// One source file.
pub struct Source {
    /// Beneath `src/`, with forward slashes.
    pub path: String,
    /// As it is written.
    pub text: String,
    /// As long as `text`, with every byte of comments, strings and characters (but line ends) blanked.
    code: String,
    /// Lines from this one on (1-based) are tests.
    tests_from: usize,
}

/// A function with a body.
pub struct Function {
    /// Its name.
    pub name: String,
    /// The 1-based line of its `fn`.
    pub line: usize,
    /// Lines from `fn` to its closing brace.
    pub lines: usize,
}

/// Every `.rs` file beneath `root`.
pub fn read_sources(root: &Path) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
                sources.push(Source::new(&name, &std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

impl Source {
    /// The file at `path` (beneath `src/`) that reads `text`.
    pub fn new(path: &str, text: &str) -> Source {
        let code = blank(text);
        let name = path.rsplit('/').next().unwrap_or(path);
        let test_file =
            path.contains("tests/") || name == "tests.rs" || name.ends_with("_tests.rs") || name == "fake.rs";
        let tests_from = match code.lines().position(|line| line.trim().starts_with("#[cfg(test)]")) {
            _ if test_file => 1,
            Some(index) if !code.lines().nth(index + 1).is_some_and(|next| next.trim_end().ends_with(';')) => index + 1,
            Some(_) | None => usize::MAX,
        };
        Source { path: path.to_string(), text: text.to_string(), code, tests_from }
    }

    /// The room: its first folder, or the file itself. None for `lib.rs` and `main.rs`.
    pub fn room(&self) -> Option<&str> {
        let first = self.path.split('/').next()?;
        let room = first.strip_suffix(".rs").unwrap_or(first);
        (room != "lib" && room != "main").then_some(room)
    }

    /// Whether `line` (1-based) belongs to tests.
    pub fn is_test_line(&self, line: usize) -> bool {
        line >= self.tests_from
    }

    /// Every `crate::X`, also within `crate::{X, Y}`, with its line.
    pub fn crate_paths(&self) -> Vec<(usize, String)> {
        let mut paths = Vec::new();
        for (start, _) in self.code.match_indices("crate::") {
            if start > 0 && is_word(self.code.as_bytes()[start - 1]) {
                continue;
            }
            let rest = start + "crate::".len();
            if self.code[rest..].starts_with('{') {
                self.grouped(rest + 1, &mut paths);
            } else {
                let name = word(&self.code[rest..]);
                paths.push((self.line_of(rest), name.to_string()));
            }
        }
        paths
    }

    /// The first word of each path in a `{…}` group that opens just before `start`.
    fn grouped(&self, start: usize, paths: &mut Vec<(usize, String)>) {
        let (mut depth, mut expecting) = (0, true);
        let mut at = start;
        let bytes = self.code.as_bytes();
        while at < bytes.len() {
            match bytes[at] {
                b'{' => depth += 1,
                b'}' if depth == 0 => return,
                b'}' => depth -= 1,
                b',' if depth == 0 => expecting = true,
                byte if expecting && is_word(byte) => {
                    paths.push((self.line_of(at), word(&self.code[at..]).to_string()));
                    expecting = false;
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// The lines in which a path begins with the crate `name`.
    pub fn uses_of_crate(&self, name: &str) -> Vec<usize> {
        let bytes = self.code.as_bytes();
        let is_use = |start: usize| {
            let before = self.code[..start].trim_end_matches("::");
            let rooted = before.len() < start;
            let path_goes_on = rooted && before.as_bytes().last().is_some_and(|&byte| is_word(byte) || byte == b'>');
            let word_before = start > 0 && (is_word(bytes[start - 1]) || bytes[start - 1] == b'.');
            let after = &self.code[start + name.len()..];
            let used = after.starts_with("::") || (before.trim_end().ends_with("use") && after.starts_with([';', ' ']));
            used && !path_goes_on && !word_before
        };
        self.code
            .match_indices(name)
            .filter(|&(start, _)| is_use(start))
            .map(|(start, _)| self.line_of(start))
            .collect()
    }

    /// Every function with a body.
    pub fn functions(&self) -> Vec<Function> {
        let mut functions = Vec::new();
        for (start, _) in self.code.match_indices("fn ") {
            if start > 0 && is_word(self.code.as_bytes()[start - 1]) {
                continue;
            }
            let name = word(self.code[start + 3..].trim_start());
            if name.is_empty() {
                continue;
            }
            if let Some(end) = self.body_end(start) {
                let line = self.line_of(start);
                functions.push(Function { name: name.to_string(), line, lines: self.line_of(end) - line + 1 });
            }
        }
        functions
    }

    /// The closing brace of the body of the function at `start`; none if it has no body.
    fn body_end(&self, start: usize) -> Option<usize> {
        let (mut braces, mut brackets) = (0usize, 0usize);
        for (offset, byte) in self.code[start..].bytes().enumerate() {
            match byte {
                b'(' | b'[' => brackets += 1,
                b')' | b']' => brackets = brackets.saturating_sub(1),
                b';' if braces == 0 && brackets == 0 => return None,
                b'{' => braces += 1,
                b'}' if braces <= 1 => return Some(start + offset),
                b'}' => braces -= 1,
                _ => {}
            }
        }
        None
    }

    fn line_of(&self, offset: usize) -> usize {
        self.code.as_bytes()[..offset].iter().filter(|&&byte| byte == b'\n').count() + 1
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn word(text: &str) -> &str {
    let end = text.bytes().position(|byte| !is_word(byte)).unwrap_or(text.len());
    &text[..end]
}

/// `text` with comments, strings and character literals replaced by blanks, byte for byte.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => line_end(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if at == 0 || !is_word(bytes[at - 1]) || bytes[at - 1] == b'b' => raw_string_end(bytes, at),
            b'\'' => character_end(bytes, at),
            _ => at,
        };
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    // Blanking whole literals leaves whole characters, so this holds; lossy only to have no second path.
    String::from_utf8_lossy(&code).into_owned()
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |length| at + length)
}

fn comment_end(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut at) = (0, at);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn raw_string_end(bytes: &[u8], at: usize) -> usize {
    let hashes = bytes[at + 1..].iter().take_while(|&&byte| byte == b'#').count();
    let open = at + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return at;
    }
    let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    let found = bytes[open + 1..].windows(close.len()).position(|window| window == close);
    found.map_or(bytes.len(), |length| open + 1 + length + close.len())
}

/// The end of a character literal; `at` itself for a lifetime.
fn character_end(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at + 1) {
        Some(b'\\') => {
            let close = bytes[at + 3..].iter().position(|&byte| byte == b'\'');
            close.map_or(bytes.len(), |length| at + 3 + length + 1)
        }
        Some(_) => {
            let close = bytes[at + 1..].iter().take(5).position(|&byte| byte == b'\'');
            let character = close.filter(|&length| {
                std::str::from_utf8(&bytes[at + 1..at + 1 + length]).is_ok_and(|text| text.chars().count() == 1)
            });
            character.map_or(at, |length| at + 1 + length + 1)
        }
        None => at,
    }
}
