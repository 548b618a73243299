//! Sink `blackhole`: takes everything, keeps nothing.

use super::{Parcel, Sink, SinkOwner};
use crate::base::Result;

/// A destination that forgets. It has no mark: after a restart it is given again what was not recorded as delivered.
#[derive(Debug, Default)]
pub struct Blackhole {
    last: Option<u64>,
}

impl Sink for Blackhole {
    fn open(&mut self, _owner: &SinkOwner) -> Result<Option<u64>> {
        Ok(self.last)
    }

    fn deliver(&mut self, parcel: &Parcel) -> Result<()> {
        self.last = self.last.max(Some(parcel.number));
        Ok(())
    }

    fn tick(&mut self, _now_us: i64, _last: bool) -> Result<()> {
        Ok(())
    }
}
