//! Floor 10: the Postgres protocol. The only room with `pgwire`.
