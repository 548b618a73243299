//! `LookupJoin`: each left row beside the right rows of its key when it comes.

use super::Lowering;
use super::join::without_keys;
use crate::base::Result;
use crate::operators::{LookupSpec, OperatorSpec};
use crate::plan::build::Stream;
use crate::plan::lookup::LookupJoin;

impl Lowering {
    pub(super) fn lookup(&mut self, node: &LookupJoin) -> Result<Stream> {
        let (left, right) = (self.lower(&node.left)?, self.lower(&node.right)?);
        let (left, right, edges) = self.keyed((left, node.left.schema()), (right, node.right.schema()), &node.on)?;
        let append_only = left.stream.append_only;
        let spec = LookupSpec {
            left: left.stream.schema.clone(),
            right: right.stream.schema.clone(),
            on: left.keys.iter().copied().zip(right.keys).collect(),
            outer: node.outer,
            append_only,
        };
        let mut stream = self.builder.operator(OperatorSpec::Lookup(spec), edges, append_only, append_only)?;
        stream.closes = left.stream.closes.and(right.stream.closes);
        stream.placed_by = Some(left.keys);
        // Left rows pass in the epoch in which they come, and nothing moves them later.
        stream.watermark = left.stream.watermark.clone();
        stream.windows = left.stream.windows.clone();
        stream.sealed = left.stream.sealed;
        without_keys(&mut stream, [left.width, right.width], left.stream.schema.columns.len())?;
        Ok(stream)
    }
}
