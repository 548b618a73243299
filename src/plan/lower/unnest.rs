//! `Unnest`: a step that spreads rows over the elements of arrays.

use super::Lowering;
use crate::base::Result;
use crate::functions::{Expr, from_datafusion};
use crate::operators::Step;
use crate::plan::build::Stream;
use crate::plan::unnest::Unnest;

impl Lowering {
    pub(super) fn unnest(&mut self, unnest: &Unnest) -> Result<Stream> {
        let mut stream = self.lower(&unnest.input)?;
        let input = unnest.input.schema();
        let lists = unnest.named().map(|(name, list)| Ok((name.clone(), from_datafusion(list, input)?)));
        let lists = lists.collect::<Result<Vec<_>>>()?;
        // The one row of a SELECT without FROM has a column that no plan names; a source's rows may have a hidden one.
        let (shown, held, count) = (input.fields().len(), stream.schema.columns.len(), lists.len());
        stream.push(Step::Unnest(lists))?;
        stream.unique = None;
        stream.single = false;
        if held > shown {
            let hidden = if stream.hidden { Some(held - 1) } else { None };
            let columns = (0..shown).chain(held..held + count).chain(hidden);
            let named = columns.map(|i| (stream.schema.columns[i].name.clone(), Expr::Column(i)));
            let named = named.collect();
            stream.push(Step::Project(named))?;
        }
        Ok(stream)
    }
}
