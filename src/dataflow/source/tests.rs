//! The host: labels, cuts, lone readers, handovers, against a slow fake job.

