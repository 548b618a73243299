//! `Projection` and `Filter`: steps of a chain.

use datafusion::logical_expr::{Filter, Projection};

use super::{Lowering, field_names};
use crate::base::Result;
use crate::functions::{Expr, Value, from_datafusion};
use crate::plan::build::Stream;

impl Lowering {
    pub(super) fn projection(&mut self, projection: &Projection) -> Result<Stream> {
        let mut stream = self.lower(&projection.input)?;
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
