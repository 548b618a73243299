//! Rows of COPY's binary format.
//!
//! ```text
//!   "PGCOPY\n\xff\r\n\0"  i32 flags  i32 length  bytes       then per row: i16 fields, each i32 length (-1: NULL) and bytes
//!                                                            at the end: i16 -1
//! ```

use arrow::array::{Array, ArrayRef, AsArray, new_empty_array, new_null_array};
use bytes::{Buf, Bytes, BytesMut};

use super::super::copy::BINARY_SIGNATURE;
use super::super::parameters::from_binary;
use super::{BAD_COPY, Field, too_short};
use crate::base::{Error, Result};
use crate::types::SqlType;
use crate::types::text::read_column;

/// Bytes that came and are not yet rows.
pub(super) struct Tuples {
    input: BytesMut,
    width: usize,
    begun: bool,
    over: bool,
    /// Rows so far.
    pub count: usize,
}

impl Tuples {
    pub fn new(width: usize) -> Tuples {
        Tuples { input: BytesMut::new(), width, begun: false, over: false, count: 0 }
    }

    pub fn push(&mut self, bytes: &Bytes) {
        self.input.extend_from_slice(bytes);
    }

    /// The values of the next row; `None`: it is not whole yet, or there is none.
    pub fn next(&mut self, ended: bool) -> Result<Option<Vec<Field>>> {
        if !self.begun && !self.begin()? {
            return if ended { Err(too_short()) } else { Ok(None) };
        }
        if self.over {
            self.input.clear();
            return Ok(None);
        }
        let mut rest = &self.input[..];
        match row(&mut rest, self.width)? {
            Taken::Row(fields) => {
                let used = self.input.len() - rest.len();
                self.input.advance(used);
                self.count += 1;
                Ok(Some(fields))
            }
            Taken::End => {
                self.over = true;
                Ok(None)
            }
            // The end may be left out.
            Taken::NotYet if ended && !self.input.is_empty() => Err(too_short()),
            Taken::NotYet => Ok(None),
        }
    }

    /// Takes the head; false while it is not whole.
    fn begin(&mut self) -> Result<bool> {
        let head = BINARY_SIGNATURE.len();
        let signature = self.input.get(..head.min(self.input.len())).unwrap_or_default();
        if !BINARY_SIGNATURE.starts_with(signature) {
            return Err(Error::invalid("COPY file signature not recognized")
                .with_code(BAD_COPY)
                .with_hint("Send PostgreSQL's binary format, or leave FORMAT binary out."));
        }
        let Some(mut fixed) = self.input.get(head..head + 8) else { return Ok(false) };
        let (flags, length) = (fixed.get_u32(), fixed.get_i32());
        let length = usize::try_from(length).map_err(|_| too_short())?;
        if flags >> 16 != 0 {
            return Err(Error::invalid("unrecognized critical flags in COPY file header").with_code(BAD_COPY));
        }
        if self.input.len() < head + 8 + length {
            return Ok(false);
        }
        self.input.advance(head + 8 + length);
        self.begun = true;
        Ok(true)
    }
}

enum Taken {
    Row(Vec<Field>),
    End,
    NotYet,
}

fn row(rest: &mut &[u8], width: usize) -> Result<Taken> {
    let Ok(count) = rest.try_get_i16() else { return Ok(Taken::NotYet) };
    if count == -1 {
        return Ok(Taken::End);
    }
    if usize::try_from(count) != Ok(width) {
        return Err(Error::invalid(format!("row field count is {count}, expected {width}")).with_code(BAD_COPY));
    }
    let mut fields = Vec::with_capacity(width);
    for _ in 0..width {
        let Ok(length) = rest.try_get_i32() else { return Ok(Taken::NotYet) };
        if length == -1 {
            fields.push(None);
            continue;
        }
        let length = usize::try_from(length).map_err(|_| too_short())?;
        let Some((value, behind)) = rest.split_at_checked(length) else { return Ok(Taken::NotYet) };
        fields.push(Some(Bytes::copy_from_slice(value)));
        *rest = behind;
    }
    Ok(Taken::Row(fields))
}

/// Values of `ty`; else the first row that is none, and why.
pub(super) fn column(fields: &[Field], ty: &SqlType) -> std::result::Result<ArrayRef, (usize, Error)> {
    let mut parts = Vec::with_capacity(fields.len());
    for (row, field) in fields.iter().enumerate() {
        let Some(bytes) = field else {
            parts.push(new_null_array(&ty.arrow(), 1));
            continue;
        };
        let wrong = || {
            let error = Error::invalid("incorrect binary data format").with_code("22P03");
            (row, error.with_detail(format!("{} bytes are no value of type {ty}.", bytes.len())))
        };
        let part = from_binary(ty, None, bytes.clone()).ok_or_else(wrong)?;
        parts.push(match part.as_string_opt::<i32>().filter(|_| *ty != SqlType::Varchar) {
            // Numerics and documents arrive as their text.
            Some(text) => match read_column(text, ty).map_err(|error| (row, error))? {
                (values, misread) if misread.is_empty() => values,
                _ => return Err(wrong()),
            },
            None => part,
        });
    }
    if parts.is_empty() {
        return Ok(new_empty_array(&ty.arrow()));
    }
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    arrow::compute::concat(&parts).map_err(|error| (0, error.into()))
}
