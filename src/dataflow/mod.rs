//! Floor 5: graphs as plain data, and their running: workers, sources and sinks.
