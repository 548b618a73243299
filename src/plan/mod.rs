//! Floor 7: from logical plan to operator graph.
