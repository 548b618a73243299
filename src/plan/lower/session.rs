//! SESSION windows: late rows told apart by the window that each would make alone, then the operator.

use super::Lowering;
use crate::base::Result;
use crate::dataflow::WatermarkExpr;
use crate::operators::{OperatorSpec, SessionSpec};
use crate::plan::build::{Closes, Stream};
use crate::plan::view::EmitMode;

impl Lowering {
    /// The rows of `stream` with their sessions.
    pub(super) fn session(&mut self, mut stream: Stream, time: usize, keys: Vec<usize>, gap_us: i64) -> Result<Stream> {
        if stream.event_time == Some(time) && self.builder.carry_watermark(&mut stream)? {
            stream = self.gated(stream, time, gap_us)?;
        }
        stream.drop_hidden()?;
        let free_after_us = stream.windows.get(&time).copied().filter(|_| stream.sealed);
        let on_close = free_after_us.is_some() && matches!(self.emit, EmitMode::WindowClose { .. });
        let width = stream.schema.columns.len();
        let edge = self.builder.edge(&mut stream, Some(&keys))?;
        let spec =
            SessionSpec { input: stream.schema.clone(), keys: keys.clone(), time, gap_us, free_after_us, on_close };
        let mut sessions =
            self.builder.operator(OperatorSpec::Session(spec), vec![edge], on_close, stream.append_only)?;
        sessions.placed_by = Some(keys);
        sessions.closes = stream.closes.and(if on_close { Closes::All } else { Closes::NoAggregate });
        if let Some(after) = free_after_us {
            sessions.watermark = WatermarkExpr::Shift(Box::new(stream.watermark.clone()), after.saturating_neg());
            sessions.sealed = true;
            sessions.windows = [(width + 1, 0)].into();
        }
        Ok(sessions)
    }
}
