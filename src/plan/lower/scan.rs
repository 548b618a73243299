//! `TableScan`: a source's rows as they come, or the changes of a table or view.

use datafusion::logical_expr::TableScan;

use super::{Lowering, refused};
use crate::base::{Error, Result};
use crate::catalog::RelationKind;
use crate::dataflow::{NodeKind, RelationInput, SourceInput, WatermarkExpr};
use crate::functions::Expr;
use crate::plan::RelationSource;
use crate::plan::build::Stream;

impl Lowering {
    pub(super) fn scan(&mut self, scan: &TableScan) -> Result<Stream> {
        let Some(relation) = RelationSource::of(&scan.source) else {
            return Err(refused("a table function", "Read a relation of the catalog."));
        };
        if !scan.filters.is_empty() || scan.fetch.is_some() {
            return Err(Error::internal(format!("filters were pushed into the scan of {}", relation.title())));
        }
        let all: Vec<usize> = (0..relation.columns.columns.len()).collect();
        let columns = scan.projection.clone().unwrap_or_else(|| all.clone());
        match relation.kind {
            RelationKind::Source => {
                let schema = relation.columns.project(&columns);
                let event_time = relation.watermark.as_ref().map(|watermark| watermark.column);
                let source = SourceInput { relation: relation.id, columns: columns.clone(), watermark: false };
                let node =
                    self.builder.add(&relation.path(), NodeKind::Source(source), Vec::new(), schema.clone(), true)?;
                let mut stream = self.builder.stream(node, schema, true);
                if event_time.is_some() {
                    stream.watermark = WatermarkExpr::Input(node);
                    stream.event_time = columns.iter().position(|&column| Some(column) == event_time);
                }
                if self.carried > 0 && stream.event_time.is_some() {
                    self.builder.carry_watermark(&mut stream)?;
                }
                Ok(stream)
            }
            RelationKind::Table | RelationKind::MaterializedView | RelationKind::Late(_) | RelationKind::Faults(_) => {
                let schema = relation.columns.clone();
                let input = NodeKind::Relation(RelationInput { relation: relation.id });
                let append_only = relation.append_only;
                let node = self.builder.add(&relation.path(), input, Vec::new(), schema.clone(), append_only)?;
                let mut stream = self.builder.stream(node, schema, append_only);
                let key = relation.primary_key.clone();
                if !key.is_empty() {
                    stream.placed_by = Some(key.clone());
                    stream.unique = Some(key);
                }
                if columns != all {
                    let named = |&i: &usize| (relation.columns.columns[i].name.clone(), Expr::Column(i));
                    stream.project(columns.iter().map(named).collect())?;
                }
                Ok(stream)
            }
            RelationKind::View
            | RelationKind::Sink
            | RelationKind::Index(_)
            | RelationKind::Function
            | RelationKind::System => Err(refused(&relation.title(), "Read a source, table or materialized view.")),
        }
    }
}
