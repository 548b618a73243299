//! Floor 2: the outside world: moves records without knowing what they mean.
