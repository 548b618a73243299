//! Floor 2: bytes ↔ rows: decoders and encoders, a whole batch at a time.
