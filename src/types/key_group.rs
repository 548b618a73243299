//! Key groups: the fixed hash slices of the key space by which state is placed and moved.

use xxhash_rust::xxh3::xxh3_64;

/// How many key groups there are, for ever: the number is part of every state key on disk.
pub const KEY_GROUPS: usize = 256;

/// The hash of a canonically encoded key ([`super::RowCodec`]): its xxh3-64. The low byte is its key group; the upper
/// half is free for hash tables.
pub fn key_hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// The key group of a canonically encoded key: the low byte of its [`key_hash`].
pub fn key_group(key: &[u8]) -> u8 {
    (key_hash(key) & 0xff) as u8
}

/// The worker that owns `group` when the first `workers` workers share all groups: contiguous slices.
pub fn worker_of(group: u8, workers: usize) -> usize {
    usize::from(group) * workers.max(1) / KEY_GROUPS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_hash() {
        // These values are on disk: a change here loses state.
        assert_eq!(key_group(b""), (0x2d06800538d394c2_u64 & 0xff) as u8);
        assert_eq!(key_group(&[1, 0x80, 0, 0, 0, 0, 0, 0, 7]), key_group(&[1, 0x80, 0, 0, 0, 0, 0, 0, 7]));
    }

    #[test]
    fn workers_share_all_groups() {
        for workers in 1..=9 {
            let owners: Vec<usize> = (0..=255).map(|group| worker_of(group, workers)).collect();
            assert!(owners.is_sorted() && owners[0] == 0 && owners[255] == workers - 1);
        }
    }
}
