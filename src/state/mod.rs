//! Floor 3: keyed tables for operators, and published views.
