//! `Proctime`: rows with the clock of the epoch in which they came; windows over it close by the clock.

use datafusion::logical_expr::{LogicalPlan, Projection};

use super::Lowering;
use crate::base::Result;
use crate::dataflow::WatermarkExpr;
use crate::operators::{OperatorSpec, ProctimeSpec};
use crate::plan::build::Stream;
use crate::plan::proctime::{Proctime, STAMP};

impl Lowering {
    pub(super) fn proctime(&mut self, node: &Proctime) -> Result<Stream> {
        let mut stream = self.lower(&node.input)?;
        stream.drop_hidden()?;
        self.builder.settle(&mut stream)?;
        let append_only = stream.append_only;
        let spec = ProctimeSpec { input: stream.schema.clone(), append_only };
        let spec = OperatorSpec::Proctime(spec);
        let edge = self.builder.edge(&mut stream, spec.partition(0).as_deref())?;
        let mut stamped = self.builder.operator(spec, vec![edge], append_only, false)?;
        stamped.unique = stream.unique;
        stamped.closes = stream.closes;
        stamped.single = stream.single;
        if append_only {
            // The clock of each epoch is above that of the one before: what it has reached does not change any more.
            stamped.watermark = WatermarkExpr::Clock;
            stamped.windows = [(stream.schema.columns.len(), 1)].into();
            stamped.sealed = true;
        }
        Ok(stamped)
    }

    /// The rows of a projection whose input stamps them for nobody; `None` if somebody asks for the stamp.
    pub(super) fn unstamped(&mut self, projection: &Projection) -> Result<Option<Stream>> {
        let LogicalPlan::Extension(extension) = &*projection.input else { return Ok(None) };
        let Some(node) = extension.node.as_any().downcast_ref::<Proctime>() else { return Ok(None) };
        let asked = projection.expr.iter().any(|expr| expr.column_refs().iter().any(|column| column.name == STAMP));
        if asked { Ok(None) } else { self.lower(&node.input).map(Some) }
    }
}
