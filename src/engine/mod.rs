//! Floor 9: sessions, statements, jobs, the epoch coordinator, checkpoints and recovery.
