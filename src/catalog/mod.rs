//! Floor 3: names of relations, what they depend on, and system views.
