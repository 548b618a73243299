//! `AsofJoin`: each row beside the newest version of its key; both sides gated where that frees state.

use super::Lowering;
use super::interval::seal_of;
use super::join::without_keys;
use crate::base::{Error, Result};
use crate::dataflow::WatermarkExpr;
use crate::functions::{Expr, from_datafusion};
use crate::operators::{AsofSpec, OperatorSpec};
use crate::plan::asof::AsofJoin;
use crate::plan::build::Stream;

impl Lowering {
    pub(super) fn asof(&mut self, node: &AsofJoin) -> Result<Stream> {
        let (left, right) = (self.lower(&node.left)?, self.lower(&node.right)?);
        let times = (
            from_datafusion(&node.left_time, node.left.schema())?,
            from_datafusion(&node.right_time, node.right.schema())?,
        );
        let (Expr::Column(left_time), Expr::Column(right_time)) = times else { return Err(no_column()) };
        let time = |stream: &Stream, i: usize| {
            stream.schema.columns.get(i).filter(|c| c.ty.is_timestamp()).map(|c| c.ty.clone())
        };
        if time(&left, left_time).is_none() || time(&left, left_time) != time(&right, right_time) {
            return Err(no_column());
        }
        let seals = (seal_of(&self.builder, &left, left_time), seal_of(&self.builder, &right, right_time));
        // A version that is taken back must find the one before it: then nothing is freed, and nothing is late.
        let sealed_us = match seals {
            (Some(l), Some(r)) if left.append_only && right.append_only => Some([l, r]),
            _ => None,
        };
        let (left, right) = match sealed_us {
            Some([l, r]) => (self.sealed(left, left_time, l)?, self.sealed(right, right_time, r)?),
            None => (left, right),
        };
        let (left, right, edges) = self.keyed((left, node.left.schema()), (right, node.right.schema()), &node.on)?;
        let widths = [left.width, right.width];
        let (left_stream, right_stream) = (left.stream, right.stream);
        let spec = AsofSpec {
            left: left_stream.schema.clone(),
            right: right_stream.schema.clone(),
            on: left.keys.iter().copied().zip(right.keys).collect(),
            left_time,
            right_time,
            strict: node.strict,
            outer: node.outer,
            sealed_us,
        };
        let mut stream = self.builder.operator(OperatorSpec::Asof(spec), edges, false, false)?;
        stream.closes = left_stream.closes.and(right_stream.closes);
        stream.placed_by = Some(left.keys);
        if left_stream.watermark != WatermarkExpr::None && right_stream.watermark != WatermarkExpr::None {
            stream.watermark = WatermarkExpr::Min(vec![left_stream.watermark, right_stream.watermark]);
        }
        if let Some([l, r]) = sealed_us {
            stream.windows = [(left_time, l.max(r))].into();
            stream.sealed = true;
        }
        without_keys(&mut stream, widths, left_stream.schema.columns.len())?;
        Ok(stream)
    }
}

fn no_column() -> Error {
    Error::unsupported("the times of a join with versions are not columns of one timestamp type")
        .with_hint("Compute or cast them in a sub-query of each side.")
}
