//! Floor 11: the commands: serve, run, check, inspect.
