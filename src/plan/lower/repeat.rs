//! `Repeat`: a step that multiplies weights.

use super::Lowering;
use crate::base::Result;
use crate::functions::from_datafusion;
use crate::operators::Step;
use crate::plan::build::Stream;
use crate::plan::repeat::Repeat;

impl Lowering {
    pub(super) fn repeat(&mut self, repeat: &Repeat) -> Result<Stream> {
        let mut stream = self.lower(&repeat.input)?;
        let times = from_datafusion(&repeat.times, repeat.input.schema())?;
        stream.push(Step::Repeat(times))?;
        // A row may now be there more than once.
        stream.unique = None;
        Ok(stream)
    }
}
