//! The record of a cut: everything that decides what an epoch is, as it lies in the epoch log.
//!
//! ```text
//! field        bytes                                   worked value (the test below; hex)
//! version      u8            now 1                      01
//! epoch        u64                                      07 00 00 00 00 00 00 00
//! clock        i64           µs since 1970              40 42 0f 00 00 00 00 00
//! sources      u32 count, then each:                    01 00 00 00
//!   relation   u64                                      03 00 00 00 00 00 00 00
//!   watermark  i64           µs; MIN none, MAX end      f4 01 00 00 00 00 00 00
//!   splits     u32 count, then each:                    01 00 00 00
//!     split    u32 length, UTF-8                        01 00 00 00 · 61
//!     position u32 length, UTF-8                        02 00 00 00 · 34 32
//!     watermark i64                                     f4 01 00 00 00 00 00 00
//!     flags    u8: 1 idle, 2 ended                      01
//! writes       u32 count, then each:                    01 00 00 00
//!   relation   u64                                      04 00 00 00 00 00 00 00
//!   rows       u32 length, Arrow IPC stream             03 00 00 00 · 78 79 7a
//! ddl          u32 count, then each:                    01 00 00 00
//!   change     u32 length, bytes of the engine's own    02 00 00 00 · 7b 7d
//! ```
//! All numbers are little-endian. A record of another version is refused.

use serde::{Deserialize, Serialize};

use super::bytes::{Fields, put_count, put_sized};
use crate::base::{Error, Result};
use crate::types::{Epoch, Position, RelationId, SplitId, Watermark};

const VERSION: u8 = 1;
const IDLE: u8 = 1;
const ENDED: u8 = 2;

/// The decision that ended an epoch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CutRecord {
    /// The epoch that it ended.
    pub epoch: Epoch,
    /// What `now()` is in this epoch: microseconds since 1970.
    pub clock_us: i64,
    /// The sources that had something to say.
    pub sources: Vec<SourceCut>,
    /// Resolved rows of INSERT, UPDATE, DELETE and of sources that cannot replay, in the order of their acceptance.
    pub writes: Vec<TableWrites>,
    /// Changes of the catalog, in the engine's own JSON.
    pub ddl: Vec<Vec<u8>>,
}

/// How far one source belongs to an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceCut {
    /// The source.
    pub relation: RelationId,
    /// Its watermark, merged over its splits.
    pub watermark: Watermark,
    /// Its splits.
    pub splits: Vec<SplitCut>,
}

/// How far one split belongs to an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitCut {
    /// The split.
    pub split: SplitId,
    /// All records before this position belong to this epoch or an earlier one.
    pub position: Position,
    /// The largest watermark value of those records.
    pub watermark: Watermark,
    /// Whether it is idle.
    pub idle: bool,
    /// Whether its end has been reached for ever.
    pub ended: bool,
}

/// Deltas of one table in one epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct TableWrites {
    /// The table.
    pub relation: RelationId,
    /// Rows and weights as one Arrow IPC stream ([`super::encode_rows`]).
    pub rows: Vec<u8>,
}

impl CutRecord {
    /// As bytes. Fails with `Limit` when a part has 4 GiB or more.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let rows: usize = self.writes.iter().map(|write| write.rows.len() + 16).sum();
        let mut out = Vec::with_capacity(64 + rows + self.sources.len() * 128);
        out.push(VERSION);
        out.extend_from_slice(&self.epoch.0.to_le_bytes());
        out.extend_from_slice(&self.clock_us.to_le_bytes());
        put_count(&mut out, self.sources.len())?;
        for source in &self.sources {
            source.encode(&mut out)?;
        }
        put_count(&mut out, self.writes.len())?;
        for write in &self.writes {
            out.extend_from_slice(&write.relation.0.to_le_bytes());
            put_sized(&mut out, &write.rows)?;
        }
        put_count(&mut out, self.ddl.len())?;
        for change in &self.ddl {
            put_sized(&mut out, change)?;
        }
        Ok(out)
    }

    /// From the bytes of [`CutRecord::encode`]. Fails with `Corrupt` for anything else.
    pub fn decode(bytes: &[u8]) -> Result<CutRecord> {
        let mut fields = Fields::new(bytes, "cut record");
        let version = fields.u8()?;
        if version != VERSION {
            return Err(Error::corrupt(format!(
                "cut record has version {version}; this program reads version {VERSION}"
            ))
            .with_hint("Start the version of millstream that wrote this data directory."));
        }
        let epoch = Epoch(fields.u64()?);
        let clock_us = fields.i64()?;
        let sources = (0..fields.count(20)?).map(|_| SourceCut::decode(&mut fields)).collect::<Result<_>>()?;
        let writes = (0..fields.count(12)?)
            .map(|_| Ok(TableWrites { relation: RelationId(fields.u64()?), rows: fields.sized()?.to_vec() }))
            .collect::<Result<_>>()?;
        let ddl = (0..fields.count(4)?).map(|_| Ok(fields.sized()?.to_vec())).collect::<Result<_>>()?;
        fields.end()?;
        Ok(CutRecord { epoch, clock_us, sources, writes, ddl })
    }
}

impl SourceCut {
    fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(&self.relation.0.to_le_bytes());
        out.extend_from_slice(&self.watermark.0.to_le_bytes());
        put_count(out, self.splits.len())?;
        for split in &self.splits {
            put_sized(out, split.split.0.as_bytes())?;
            put_sized(out, split.position.0.as_bytes())?;
            out.extend_from_slice(&split.watermark.0.to_le_bytes());
            out.push(if split.idle { IDLE } else { 0 } | if split.ended { ENDED } else { 0 });
        }
        Ok(())
    }

    fn decode(fields: &mut Fields<'_>) -> Result<SourceCut> {
        let relation = RelationId(fields.u64()?);
        let watermark = Watermark(fields.i64()?);
        let splits = (0..fields.count(17)?).map(|_| SplitCut::decode(fields)).collect::<Result<_>>()?;
        Ok(SourceCut { relation, watermark, splits })
    }
}

impl SplitCut {
    fn decode(fields: &mut Fields<'_>) -> Result<SplitCut> {
        let split = SplitId(fields.text()?);
        let position = Position(fields.text()?);
        let watermark = Watermark(fields.i64()?);
        let flags = fields.u8()?;
        if flags & !(IDLE | ENDED) != 0 {
            return Err(Error::corrupt(format!("cut record has split flags {flags:#x}; 1 and 2 were expected")));
        }
        Ok(SplitCut { split, position, watermark, idle: flags & IDLE != 0, ended: flags & ENDED != 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ErrorKind;

    fn worked() -> CutRecord {
        let split = SplitCut {
            split: SplitId("a".into()),
            position: Position("42".into()),
            watermark: Watermark(500),
            idle: true,
            ended: false,
        };
        CutRecord {
            epoch: Epoch(7),
            clock_us: 1_000_000,
            sources: vec![SourceCut { relation: RelationId(3), watermark: Watermark(500), splits: vec![split] }],
            writes: vec![TableWrites { relation: RelationId(4), rows: b"xyz".to_vec() }],
            ddl: vec![b"{}".to_vec()],
        }
    }

    #[test]
    fn golden() {
        // These bytes are in the logs of data directories in use.
        let golden = "010700000000000000\
            40420f0000000000\
            01000000\
            0300000000000000f401000000000000\
            01000000\
            01000000610200000034 32f40100000000000001\
            01000000\
            04000000000000000300000078797a\
            01000000\
            020000007b7d"
            .replace(' ', "");
        let bytes = worked().encode().unwrap();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden);
        assert_eq!(CutRecord::decode(&bytes).unwrap(), worked());
    }

    #[test]
    fn every_truncation_and_version_is_refused() {
        let bytes = worked().encode().unwrap();
        for length in 0..bytes.len() {
            assert_eq!(CutRecord::decode(&bytes[..length]).unwrap_err().kind(), ErrorKind::Corrupt, "{length}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(CutRecord::decode(&longer).is_err());
        let mut newer = bytes;
        newer[0] = 2;
        assert_eq!(
            CutRecord::decode(&newer).unwrap_err().message(),
            "cut record has version 2; this program reads version 1"
        );
        assert!(CutRecord::decode(&[1; 64]).is_err());
    }
}
