//! The gate: late rows told from the others, once between a source's stateless chain and the first operator that frees
//! state by event time.

use super::Lowering;
use crate::base::Result;
use crate::operators::{GateSpec, LATE_PORT, OperatorSpec};
use crate::plan::build::{SideOutput, Stream};

impl Lowering {
    /// `stream`, whose rows bring the watermark of their split, without the rows for which `column` (a timestamp) and
    /// `shift_us` are not above it.
    pub(super) fn gated(&mut self, mut stream: Stream, column: usize, shift_us: i64) -> Result<Stream> {
        let watermark = stream.schema.columns.len() - 1;
        let edge = self.builder.edge(&mut stream, None)?;
        let spec = GateSpec { input: stream.schema.clone(), watermark, window_end: column, shift_us };
        let spec = OperatorSpec::Gate(spec);
        let late = spec.outputs()?.into_iter().nth(LATE_PORT).unwrap_or_default();
        let append_only = stream.append_only;
        let mut gated = self.builder.operator(spec, vec![edge], append_only, append_only)?;
        let node = self.builder.last();
        self.builder.late.push(SideOutput { node, port: LATE_PORT, schema: late, append_only });
        gated.watermark = stream.watermark;
        gated.windows = stream.windows;
        gated.windows.insert(column, shift_us);
        gated.event_time = stream.event_time;
        gated.sealed = true;
        gated.closes = stream.closes;
        Ok(gated)
    }
}
