//! `SingleRow`: the one row of a scalar sub-query.

use super::Lowering;
use crate::base::Result;
use crate::operators::{OperatorSpec, SingleSpec};
use crate::plan::build::{Closes, Stream};
use crate::plan::single::SingleRow;

impl Lowering {
    pub(super) fn single(&mut self, node: &SingleRow) -> Result<Stream> {
        let mut input = self.lower(&node.input)?;
        input.drop_hidden()?;
        let edge = self.builder.edge(&mut input, Some(&[]))?;
        let spec = SingleSpec { input: input.schema.clone() };
        let mut single = self.builder.operator(OperatorSpec::Single(spec), vec![edge], false, false)?;
        single.closes = input.closes.and(Closes::Revised);
        single.placed_by = Some(Vec::new());
        single.single = true;
        Ok(single)
    }
}
