//! Variable-length integers: LEB128, signed ones in zigzag. Short for the small numbers that counts are.

use crate::base::{Error, Result};

/// Bytes still to be read.
pub(super) type Bytes<'a> = &'a [u8];

pub(super) fn torn() -> Error {
    Error::corrupt("accumulator bytes end early or hold what was never written")
}

pub(super) fn take<const N: usize>(bytes: &mut Bytes<'_>) -> Result<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>().ok_or_else(torn)?;
    *bytes = rest;
    Ok(*head)
}

pub(super) fn put_u64(value: u64, out: &mut Vec<u8>) {
    put_u128(value.into(), out);
}

pub(super) fn put_i64(value: i64, out: &mut Vec<u8>) {
    put_u64(((value << 1) ^ (value >> 63)) as u64, out);
}

pub(super) fn put_i128(value: i128, out: &mut Vec<u8>) {
    put_u128(((value << 1) ^ (value >> 127)) as u128, out);
}

fn put_u128(mut value: u128, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn take_u64(bytes: &mut Bytes<'_>) -> Result<u64> {
    take_u128(bytes)?.try_into().map_err(|_| torn())
}

pub(super) fn take_i64(bytes: &mut Bytes<'_>) -> Result<i64> {
    let value = take_u64(bytes)?;
    Ok((value >> 1) as i64 ^ -((value & 1) as i64))
}

pub(super) fn take_i128(bytes: &mut Bytes<'_>) -> Result<i128> {
    let value = take_u128(bytes)?;
    Ok((value >> 1) as i128 ^ -((value & 1) as i128))
}

fn take_u128(bytes: &mut Bytes<'_>) -> Result<u128> {
    let mut value = 0u128;
    let mut shift = 0;
    loop {
        let [byte] = take::<1>(bytes)?;
        if shift > 126 || (shift == 126 && byte > 3) {
            return Err(torn());
        }
        value |= u128::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
        shift += 7;
    }
}
