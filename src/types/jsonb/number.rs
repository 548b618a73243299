//! Numbers within JSONB: decimals of any length, ordered by value, then by how many digits are shown.
//!
//! | part | bytes |
//! |---|---|
//! | sign | `80` zero, `82` positive, `7e` negative |
//! | exponent | 4: of `0.d1d2d3... × 10^e`, big-endian, sign bit flipped (not for zero) |
//! | digits | `d1d2 + 1`, `d3d4 + 1`, ... without zeros at the end, then `00` (not for zero) |
//! | shown | 2: digits behind the point, big-endian |
//!
//! Of a negative number, exponent, digits and their end are inverted bit by bit.

use std::fmt::Write;

use crate::base::sqlstate;
use crate::types::Reason;

const ZERO: u8 = 0x80;
const POSITIVE: u8 = 0x82;
const NEGATIVE: u8 = 0x7e;

/// The most digits before the point, and behind it: PostgreSQL's limits of numeric.
const WHOLE_MAX: i64 = 131_072;
const SHOWN_MAX: i64 = 16_383;

/// Appends a number in JSON's or PostgreSQL's spelling; what is none is refused (22P02), beyond the limits too (22003).
pub fn push(text: &str, out: &mut Vec<u8>) -> Result<(), Reason> {
    let wrong = || Reason::new(sqlstate::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type json");
    let over = || Reason::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format");
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().map_err(|_| over())?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    if !all_digits || whole.len() + fraction.len() == 0 {
        return Err(wrong());
    }
    let exponent = exponent.clamp(-1_000_000, 1_000_000);
    let shown = (fraction.len() as i64 - exponent).max(0);
    let digits = || whole.bytes().chain(fraction.bytes());
    let Some(leading) = digits().position(|digit| digit != b'0') else {
        out.push(ZERO);
        out.extend_from_slice(&u16::try_from(shown.min(SHOWN_MAX)).unwrap_or_default().to_be_bytes());
        return Ok(());
    };
    let point = whole.len() as i64 - leading as i64 + exponent;
    if point > WHOLE_MAX || shown > SHOWN_MAX {
        return Err(over());
    }
    let trailing = whole.bytes().chain(fraction.bytes()).rev().take_while(|digit| *digit == b'0').count();
    let count = whole.len() + fraction.len() - leading - trailing;
    out.push(if negative { NEGATIVE } else { POSITIVE });
    let start = out.len();
    out.extend_from_slice(&((point as i32) as u32 ^ 1 << 31).to_be_bytes());
    let mut digits = digits().skip(leading).take(count).map(|digit| digit - b'0');
    while let Some(high) = digits.next() {
        out.push(high * 10 + digits.next().unwrap_or(0) + 1);
    }
    out.push(0);
    if negative {
        out.iter_mut().skip(start).for_each(|byte| *byte = !*byte);
    }
    out.extend_from_slice(&(shown as u16).to_be_bytes());
    Ok(())
}

/// What follows the number at the head of `bytes` (behind its tag).
pub fn skip(bytes: &[u8]) -> Option<&[u8]> {
    let digits = digits_end(bytes)?;
    bytes.get(digits + 2..)
}

fn digits_end(bytes: &[u8]) -> Option<usize> {
    let end = match *bytes.first()? {
        ZERO => return Some(1),
        POSITIVE => 0,
        NEGATIVE => 0xff,
        _ => return None,
    };
    Some(5 + memchr::memchr(end, bytes.get(5..)?)? + 1)
}

/// The bytes by which numbers are equal, whatever digits they show.
pub fn value(bytes: &[u8]) -> &[u8] {
    digits_end(bytes).and_then(|end| bytes.get(..end)).unwrap_or_default()
}

/// Writes the number whose encoding begins `bytes`, as PostgreSQL writes numeric: `-0.0150`.
pub fn write(bytes: &[u8], out: &mut dyn Write) -> std::fmt::Result {
    let Some(end) = digits_end(bytes) else { return out.write_char('0') };
    let shown = match bytes.get(end..end + 2) {
        Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
        _ => 0,
    };
    let negative = bytes.first() == Some(&NEGATIVE);
    let plain = |byte: &u8| if negative { !*byte } else { *byte };
    let mut point = 0i64;
    let mut pairs: &[u8] = &[];
    if end > 1 {
        let exponent =
            bytes.get(1..5).unwrap_or_default().iter().fold(0u32, |all, byte| all << 8 | u32::from(plain(byte)));
        point = i64::from((exponent ^ 1 << 31) as i32);
        pairs = bytes.get(5..end - 1).unwrap_or_default();
    }
    if negative {
        out.write_char('-')?;
    }
    let mut digits = pairs.iter().flat_map(|byte| {
        let pair = plain(byte).saturating_sub(1);
        [pair / 10, pair % 10]
    });
    let mut write = |digit: u8| out.write_char(char::from(b'0' + digit));
    if point <= 0 {
        write(0)?;
    }
    for _ in 0..point {
        write(digits.next().unwrap_or(0))?;
    }
    if shown == 0 {
        return Ok(());
    }
    out.write_char('.')?;
    for place in 0..shown as i64 {
        let digit = if place < -point { 0 } else { digits.next().unwrap_or(0) };
        out.write_char(char::from(b'0' + digit))?;
    }
    Ok(())
}
