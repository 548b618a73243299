//! Floor 2: bytes on disk: the epoch log, runs, manifests and stores. The only room with `rocksdb`.
