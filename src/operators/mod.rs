//! Floor 4: pure operators: deltas in, deltas out.
