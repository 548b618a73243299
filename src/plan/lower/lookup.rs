//! `LookupJoin`: each left row beside the right rows of its key when it comes.

use super::Lowering;
use super::join::with_keys;
use crate::base::Result;
use crate::functions::{Expr, from_datafusion};
use crate::operators::{LookupSpec, OperatorSpec};
use crate::plan::build::Stream;
use crate::plan::lookup::LookupJoin;

impl Lowering {
    pub(super) fn lookup(&mut self, node: &LookupJoin) -> Result<Stream> {
        let (mut left, mut right) = (self.lower(&node.left)?, self.lower(&node.right)?);
        left.drop_hidden()?;
        right.drop_hidden()?;
        let keys = node
            .on
            .iter()
            .map(|(l, r)| Ok((from_datafusion(l, node.left.schema())?, from_datafusion(r, node.right.schema())?)));
        let (left_keys, right_keys) = keys.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        let widths = (left.width(), right.width());
        let (mut left, mut right) = (with_keys(left, left_keys)?, with_keys(right, right_keys)?);
        let edges = vec![
            self.builder.edge(&mut left.stream, Some(&left.keys))?,
            self.builder.edge(&mut right.stream, Some(&right.keys))?,
        ];
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
        let left_columns = left.stream.schema.columns.len();
        if left_columns + right.stream.schema.columns.len() != widths.0 + widths.1 {
            let shown = (0..widths.0).chain((0..widths.1).map(|i| left_columns + i));
            let named = |i: usize| (stream.schema.columns[i].name.clone(), Expr::Column(i));
            let columns = shown.map(named).collect();
            stream.project(columns)?;
        }
        Ok(stream)
    }
}
