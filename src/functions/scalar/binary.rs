//! Bytes: encodings and parts.

use super::{Function, Kind, Made, Returns, Row, Run, function};
use crate::base::sqlstate;
use crate::functions::fault::Reason;

use Kind::{Bytes, Int, Text};
const BYTES: Returns = Returns::Type(Kind::Bytes);
const INT: Returns = Returns::Type(Kind::Int);

pub(super) const FUNCTIONS: &[Function] = &[
    function("length", &[Bytes], INT, Run::Int(|row| Ok(Some(row.bytes(0).len() as i64)))),
    function("octet_length", &[Bytes], INT, Run::Int(|row| Ok(Some(row.bytes(0).len() as i64)))),
    function("bit_length", &[Bytes], INT, Run::Int(|row| Ok(Some(row.bytes(0).len() as i64 * 8)))),
    function("get_byte", &[Bytes, Int], INT, Run::Int(get_byte)),
    function("set_byte", &[Bytes, Int, Int], BYTES, Run::Bytes(set_byte)),
    function("substring", &[Bytes, Int], BYTES, Run::Bytes(substring)),
    function("substring", &[Bytes, Int, Int], BYTES, Run::Bytes(substring)),
    function("encode", &[Bytes, Text], Returns::Type(Kind::Text), Run::Text(encode)),
    function("decode", &[Text, Text], BYTES, Run::Bytes(decode)),
    function("convert_to", &[Text, Text], BYTES, Run::Bytes(convert_to)),
    function("convert_from", &[Bytes, Text], Returns::Type(Kind::Text), Run::Text(convert_from)),
];

fn place(row: &Row<'_>) -> Result<usize, Reason> {
    let (length, index) = (row.bytes(0).len(), row.int(1));
    usize::try_from(index).ok().filter(|index| *index < length).ok_or_else(|| {
        let last = length as i64 - 1;
        Reason::new(sqlstate::ARRAY_SUBSCRIPT_ERROR, format!("index {index} out of valid range, 0..{last}"))
    })
}

fn get_byte(row: &Row<'_>) -> Made<i64> {
    let index = place(row)?;
    Ok(row.bytes(0).get(index).map(|byte| i64::from(*byte)))
}

fn set_byte(row: &Row<'_>, out: &mut Vec<u8>) -> Made<()> {
    let index = place(row)?;
    out.extend_from_slice(row.bytes(0));
    if let Some(byte) = out.get_mut(index) {
        *byte = row.int(2) as u8;
    }
    Ok(Some(()))
}

fn substring(row: &Row<'_>, out: &mut Vec<u8>) -> Made<()> {
    let from = row.int(1);
    let end = match row.len() {
        2 => i64::MAX,
        _ if row.int(2) < 0 => {
            return Err(Reason::new(sqlstate::SUBSTRING_ERROR, "negative substring length not allowed"));
        }
        _ => from + row.int(2),
    };
    let skip = (from - 1).max(0);
    out.extend(row.bytes(0).iter().skip(skip as usize).take((end - 1 - skip).max(0) as usize));
    Ok(Some(()))
}

fn unknown_encoding(name: &str) -> Reason {
    Reason::new(sqlstate::INVALID_PARAMETER_VALUE, format!("unrecognized encoding: \"{name}\""))
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Characters of a line of base64, as MIME has it.
const LINE: usize = 76;

fn encode(row: &Row<'_>, out: &mut String) -> Made<()> {
    let (bytes, name) = (row.bytes(0), row.text(1));
    match name.to_ascii_lowercase().as_str() {
        "hex" => bytes.iter().for_each(|byte| out.push_str(&format!("{byte:02x}"))),
        "escape" => {
            for &byte in bytes {
                match byte {
                    b'\\' => out.push_str("\\\\"),
                    0 | 0x80.. => out.push_str(&format!("\\{byte:03o}")),
                    _ => out.push(char::from(byte)),
                }
            }
        }
        "base64" => {
            let mut column = 0;
            for chunk in bytes.chunks(3) {
                let part = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
                let word = part(0) << 16 | part(1) << 8 | part(2);
                if column == LINE {
                    out.push('\n');
                    column = 0;
                }
                for i in 0..4 {
                    let digit = DIGITS.get((word >> (18 - 6 * i) & 63) as usize).copied().unwrap_or(b'=');
                    out.push(if i <= chunk.len() { char::from(digit) } else { '=' });
                }
                column += 4;
            }
        }
        _ => return Err(unknown_encoding(name)),
    }
    Ok(Some(()))
}

fn decode(row: &Row<'_>, out: &mut Vec<u8>) -> Made<()> {
    let (text, name) = (row.text(0), row.text(1));
    let wrong = |message: String| Reason::new(sqlstate::INVALID_PARAMETER_VALUE, message);
    match name.to_ascii_lowercase().as_str() {
        "hex" => {
            let mut high: Option<u32> = None;
            for c in text.chars().filter(|c| !c.is_ascii_whitespace()) {
                let digit = c.to_digit(16).ok_or_else(|| wrong(format!("invalid hexadecimal digit: \"{c}\"")))?;
                match high.take() {
                    None => high = Some(digit),
                    Some(high) => out.push((high * 16 + digit) as u8),
                }
            }
            if high.is_some() {
                return Err(wrong("invalid hexadecimal data: odd number of digits".into()));
            }
        }
        "escape" => crate::types::text::read::bytea(text, out)?,
        "base64" => {
            let (mut word, mut digits, mut padding) = (0u32, 0, 0);
            for c in text.chars().filter(|c| !c.is_ascii_whitespace()) {
                if c == '=' {
                    padding += 1;
                    continue;
                }
                let digit = DIGITS.iter().position(|digit| char::from(*digit) == c);
                let digit = digit.filter(|_| padding == 0);
                let symbol = || wrong(format!("invalid symbol \"{c}\" found while decoding base64 sequence"));
                word = word << 6 | digit.ok_or_else(symbol)? as u32;
                digits += 1;
                if digits % 4 == 0 {
                    out.extend_from_slice(&word.to_be_bytes()[1..]);
                    word = 0;
                }
            }
            match (digits % 4, padding) {
                (0, 0) => {}
                (2, 2) => out.push((word >> 4) as u8),
                (3, 1) => out.extend_from_slice(&[(word >> 10) as u8, (word >> 2) as u8]),
                _ => return Err(wrong("invalid base64 end sequence".into())),
            }
        }
        _ => return Err(unknown_encoding(name)),
    }
    Ok(Some(()))
}

fn utf8(name: &str) -> Result<(), Reason> {
    let known = ["utf8", "utf-8", "unicode"].iter().any(|utf8| name.eq_ignore_ascii_case(utf8));
    if known {
        Ok(())
    } else {
        Err(Reason::new(sqlstate::UNDEFINED_OBJECT, format!("encoding \"{name}\" does not exist")))
    }
}

fn convert_to(row: &Row<'_>, out: &mut Vec<u8>) -> Made<()> {
    utf8(row.text(1))?;
    out.extend_from_slice(row.text(0).as_bytes());
    Ok(Some(()))
}

fn convert_from(row: &Row<'_>, out: &mut String) -> Made<()> {
    utf8(row.text(1))?;
    match std::str::from_utf8(row.bytes(0)) {
        Ok(text) if !text.contains('\0') => out.push_str(text),
        _ => return Err(Reason::new("22021", "invalid byte sequence for encoding \"UTF8\"")),
    }
    Ok(Some(()))
}
