//! Reading and writing fields of fixed, little-endian encodings without ever trusting a length.

use crate::base::{Error, Result};

/// Bytes that are taken field by field from the front.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    /// What is being read, for messages.
    what: &'static str,
}

impl<'a> Fields<'a> {
    /// The fields of `bytes`, which are a `what`.
    pub(super) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Fields { rest: bytes, what }
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let Some((head, rest)) = self.rest.split_at_checked(count) else {
            return Err(Error::corrupt(format!("{} ends too early", self.what))
                .with_detail(format!("A field of {count} bytes was expected, {} bytes are left.", self.rest.len())));
        };
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// One byte.
    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes, little-endian.
    pub(super) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes, little-endian.
    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes, little-endian.
    pub(super) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Eight bytes, little-endian, signed.
    pub(super) fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// A `u32` length and as many bytes.
    pub(super) fn sized(&mut self) -> Result<&'a [u8]> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    /// A `u32` length and as many bytes of UTF-8.
    pub(super) fn text(&mut self) -> Result<String> {
        let what = self.what;
        let bytes = self.sized()?;
        let text = std::str::from_utf8(bytes);
        Ok(text
            .map_err(|error| Error::corrupt(format!("{what} holds text that is not UTF-8")).caused_by(error))?
            .into())
    }

    /// How many elements follow; each takes at least `least` bytes, so that a wild count allocates nothing.
    pub(super) fn count(&mut self, least: usize) -> Result<usize> {
        let count = self.u32()? as usize;
        if count.saturating_mul(least) > self.rest.len() {
            return Err(Error::corrupt(format!("{} names {count} elements, more than its bytes hold", self.what)));
        }
        Ok(count)
    }

    /// The bytes not taken yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Refuses bytes behind the last field.
    pub(super) fn end(self) -> Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(Error::corrupt(format!("{} has {} bytes behind its last field", self.what, self.rest.len())))
    }
}

/// Appends a `u32` length and the bytes. Fails when the length does not fit.
pub(super) fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    put_count(out, bytes.len())?;
    out.extend_from_slice(bytes);
    Ok(())
}

/// Appends a count or length as `u32`.
pub(super) fn put_count(out: &mut Vec<u8>, count: usize) -> Result<()> {
    let count = u32::try_from(count)
        .map_err(|_| Error::limit(format!("one epoch holds a field of {count} elements; at most {} fit", u32::MAX)))?;
    out.extend_from_slice(&count.to_le_bytes());
    Ok(())
}
