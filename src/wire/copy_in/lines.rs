//! Lines of COPY's text and CSV formats, taken apart.

use bytes::{Bytes, BytesMut};

use super::{BAD_COPY, Field};
use crate::base::{Error, Result};
use crate::engine::CopyFormat;

/// Bytes that came and are not yet lines.
pub(super) struct Lines {
    format: CopyFormat,
    input: BytesMut,
    /// How far the next line was looked at, and whether that place is inside quotes.
    seen: usize,
    quoted: bool,
    /// Whether `\.` came: what is behind it is ignored.
    over: bool,
    /// Lines so far.
    pub count: usize,
}

impl Lines {
    pub fn new(format: CopyFormat) -> Lines {
        Lines { format, input: BytesMut::new(), seen: 0, quoted: false, over: false, count: 0 }
    }

    pub fn push(&mut self, bytes: &Bytes) {
        self.input.extend_from_slice(bytes);
    }

    /// The values of the next line; `None`: it is not whole yet, or there is none.
    pub fn next(&mut self, ended: bool) -> Result<Option<Vec<Field>>> {
        if self.over {
            self.input.clear();
            return Ok(None);
        }
        let end = match self.line_end() {
            Some(end) => end,
            None if ended && !self.input.is_empty() => {
                if self.quoted {
                    return Err(Error::invalid("unterminated CSV quoted field").with_code(BAD_COPY));
                }
                self.input.len()
            }
            None => return Ok(None),
        };
        let mut line = self.input.split_to(end);
        if !self.input.is_empty() {
            let _ = self.input.split_to(1);
        }
        (self.seen, self.quoted) = (0, false);
        if line.ends_with(b"\r") {
            line.truncate(line.len() - 1);
        }
        if &line[..] == b"\\." {
            self.over = true;
            return Ok(None);
        }
        self.count += 1;
        let line = line.freeze();
        if self.format.csv { self.csv(&line).map(Some) } else { self.text(&line).map(Some) }
    }

    /// Where the next line ends: at a line end that is not inside quotes.
    fn line_end(&mut self) -> Option<usize> {
        let (quote, escape) = (self.format.quote, self.format.escape);
        while let Some(&byte) = self.input.get(self.seen) {
            if self.format.csv {
                if self.quoted && byte == escape && escape != quote {
                    self.seen += 2;
                    continue;
                }
                if byte == quote {
                    self.quoted = !self.quoted;
                }
            }
            if byte == b'\n' && !self.quoted {
                return Some(self.seen);
            }
            self.seen += 1;
        }
        None
    }

    fn text(&self, line: &Bytes) -> Result<Vec<Field>> {
        let mut fields = Vec::new();
        let mut from = 0;
        let mut at = 0;
        while at <= line.len() {
            match line.get(at) {
                Some(b'\\') => at += 2,
                Some(byte) if *byte != self.format.delimiter => at += 1,
                _ => {
                    let raw = line.slice(from..at.min(line.len()));
                    let null = raw[..] == *self.format.null.as_bytes();
                    fields.push(if null { None } else { Some(unescaped(&raw)) });
                    at += 1;
                    from = at;
                }
            }
        }
        if from <= line.len() && at > line.len() + 1 {
            // A backslash was the last byte.
            fields.push(Some(unescaped(&line.slice(from..))));
        }
        Ok(fields)
    }

    fn csv(&self, line: &Bytes) -> Result<Vec<Field>> {
        let CopyFormat { delimiter, quote, escape, .. } = self.format;
        let mut fields = Vec::new();
        let (mut value, mut quoted, mut was_quoted) = (BytesMut::new(), false, false);
        let mut at = 0;
        while let Some(&byte) = line.get(at) {
            at += 1;
            let next = line.get(at).copied();
            if quoted
                && byte == escape
                && let Some(next) = next.filter(|&next| next == quote || next == escape)
            {
                value.extend_from_slice(&[next]);
                at += 1;
            } else if byte == quote {
                quoted = !quoted;
                was_quoted = true;
            } else if byte == delimiter && !quoted {
                fields.push(self.value(value.split().freeze(), was_quoted));
                was_quoted = false;
            } else {
                value.extend_from_slice(&[byte]);
            }
        }
        fields.push(self.value(value.freeze(), was_quoted));
        Ok(fields)
    }

    fn value(&self, value: Bytes, quoted: bool) -> Field {
        if !quoted && value[..] == *self.format.null.as_bytes() { None } else { Some(value) }
    }
}

/// A value of the text format without its backslashes.
fn unescaped(raw: &Bytes) -> Bytes {
    if !raw.contains(&b'\\') {
        return raw.clone();
    }
    let mut value = BytesMut::with_capacity(raw.len());
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        at += 1;
        let Some(&letter) = raw.get(at).filter(|_| byte == b'\\') else {
            value.extend_from_slice(&[byte]);
            continue;
        };
        at += 1;
        let digits = |radix: u32, most: usize, from: usize| {
            let digit = |byte: &&u8| char::from(**byte).is_digit(radix);
            raw.iter().skip(from).take(most).take_while(digit).count()
        };
        let plain = match letter {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            b'0'..=b'7' => {
                let count = digits(8, 3, at - 1);
                let number = raw.iter().skip(at - 1).take(count).fold(0u32, |n, d| n * 8 + u32::from(d - b'0'));
                at += count - 1;
                (number & 0xff) as u8
            }
            b'x' if digits(16, 2, at) > 0 => {
                let count = digits(16, 2, at);
                let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or_default();
                let number = raw.iter().skip(at).take(count).fold(0u32, |n, d| n * 16 + digit(d));
                at += count;
                number as u8
            }
            other => other,
        };
        value.extend_from_slice(&[plain]);
    }
    value.freeze()
}
