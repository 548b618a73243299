//! What a left row was shown beside, as a row of state.
//!
//! | bytes | what |
//! |---|---|
//! | `u32` big-endian, then so many | the left row |
//! | `u64` big-endian, inverted | the epoch in which it came: the newest first |
//! | any number of: `u32` big-endian, then so many, then `i64` big-endian | a right row and its weight |

use crate::base::{Error, Result};
use crate::types::Epoch;

/// See the head of this file.
pub(super) struct Shown;

impl Shown {
    /// What the rows of `left` begin with.
    pub fn prefix(left: &[u8]) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(left.len() + 64);
        put(&mut bytes, left)?;
        Ok(bytes)
    }

    /// The row for `left`, which came in `epoch`.
    pub fn encode(left: &[u8], epoch: Epoch, rights: &[(Vec<u8>, i64)]) -> Result<Vec<u8>> {
        let mut bytes = Shown::prefix(left)?;
        bytes.extend_from_slice(&(!epoch.0).to_be_bytes());
        for (right, weight) in rights {
            put(&mut bytes, right)?;
            bytes.extend_from_slice(&weight.to_be_bytes());
        }
        Ok(bytes)
    }

    /// The right rows of `row`, whose prefix has so many bytes.
    pub fn rights(row: &[u8], prefix: usize) -> Result<Vec<(Vec<u8>, i64)>> {
        let torn = || Error::corrupt("what a left row was shown beside is torn");
        let mut rest = row.get(prefix + 8..).ok_or_else(torn)?;
        let mut rights = Vec::new();
        while !rest.is_empty() {
            let (length, behind) = rest.split_first_chunk::<4>().ok_or_else(torn)?;
            let (right, behind) = behind.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or_else(torn)?;
            let (weight, behind) = behind.split_first_chunk::<8>().ok_or_else(torn)?;
            rights.push((right.to_vec(), i64::from_be_bytes(*weight)));
            rest = behind;
        }
        Ok(rights)
    }
}

fn put(bytes: &mut Vec<u8>, row: &[u8]) -> Result<()> {
    let length = u32::try_from(row.len()).map_err(|_| Error::limit("row of state is longer than 4 GiB"))?;
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(row);
    Ok(())
}
