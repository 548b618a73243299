//! Floor 2: expressions and SQL functions: our expression IR, its kernels with fault masks, retractable aggregates, and what of it DataFusion is given.
