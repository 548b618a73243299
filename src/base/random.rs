//! Random numbers: a seed that can be printed and given back, and the same numbers from it on every machine.

use std::hash::{BuildHasher, Hasher};

/// A small generator (SplitMix64, Steele, Lea and Flood 2014): good enough for jitter, tests and names of files; not
/// for secrets (see [`secret`]).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The numbers of `seed`.
    pub fn new(seed: u64) -> Self {
        Random { state: seed }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0 .. bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `low ..= high`; `low` when they are the wrong way round.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        if high <= low {
            return low;
        }
        let width = high.wrapping_sub(low) as u64;
        if width == u64::MAX {
            return self.next_u64() as i64;
        }
        low.wrapping_add(self.below(width + 1) as i64)
    }

    /// True once in `out_of` times.
    pub fn one_in(&mut self, out_of: u64) -> bool {
        self.below(out_of) == 0
    }

    /// A number in `0.0 .. 1.0`.
    pub fn fraction(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// One of `items`; none when there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len() as u64) as usize)
    }

    /// Puts `items` in a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

/// A seed that differs from call to call and from process to process.
pub fn fresh_seed() -> u64 {
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u64(u64::from(std::process::id()));
    hasher.write_u128(
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos()),
    );
    hasher.finish()
}

/// 64 bits that an outsider cannot foresee, from the operating system; the fresh seed where it has none to give.
pub fn secret() -> u64 {
    use std::io::Read;
    let mut bytes = [0u8; 8];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    match read {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => fresh_seed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_for_ever() {
        let mut random = Random::new(1);
        assert_eq!(random.next_u64(), 0x910a_2dec_8902_5cc1);
        let mut random = Random::new(7);
        for _ in 0..1000 {
            assert!(random.below(10) < 10);
            assert!((-3..=3).contains(&random.between(-3, 3)));
            assert!((0.0..1.0).contains(&random.fraction()));
        }
        assert_eq!(random.between(5, 5), 5);
        assert_eq!(random.pick::<u8>(&[]), None);
        let mut items: Vec<u32> = (0..100).collect();
        random.shuffle(&mut items);
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
