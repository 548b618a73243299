//! Floor 8: our dialect: from text to statements and bound logical plans.
