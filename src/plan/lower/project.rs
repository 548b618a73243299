//! `Projection` and `Filter`: steps of a chain.

use datafusion::logical_expr::{Filter, LogicalPlan, Projection};

use super::{Lowering, field_names};
use crate::base::Result;
use crate::functions::{Expr, Value, from_datafusion};
use crate::plan::build::Stream;

impl Lowering {
    pub(super) fn projection(&mut self, projection: &Projection) -> Result<Stream> {
        if let LogicalPlan::Filter(filter) = &*projection.input
            && let Some(stream) = self.numbered(filter, Some(projection))?
        {
            return self.project(stream, projection);
        }
        let stream = match self.unstamped(projection)? {
            Some(stream) => stream,
            None => self.lower(&projection.input)?,
        };
        self.project(stream, projection)
    }

    /// The columns of `projection` over the rows of its input.
    pub(super) fn project(&mut self, mut stream: Stream, projection: &Projection) -> Result<Stream> {
        let names = projection.schema.fields().iter().map(|field| field.name().clone());
        let input = projection.input.schema();
        let columns = names
            .zip(&projection.expr)
            .map(|(name, expr)| Ok((name, from_datafusion(expr, input)?)))
            .collect::<Result<Vec<_>>>()?;
        stream.project(columns)?;
        Ok(stream)
    }

    pub(super) fn filter(&mut self, filter: &Filter) -> Result<Stream> {
        if let Some(stream) = self.numbered(filter, None)? {
            return Ok(stream);
        }
        let mut stream = self.lower(&filter.input)?;
        debug_assert_eq!(stream.width(), field_names(&filter.input).len());
        let predicate = from_datafusion(&filter.predicate, filter.input.schema())?;
        let always = matches!(&predicate, Expr::Literal(literal) if literal.value == Value::Boolean(true));
        if !always {
            stream.filter(predicate);
        }
        Ok(stream)
    }
}
