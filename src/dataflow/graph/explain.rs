//! The operator graph as text, for EXPLAIN: one paragraph per node, inputs first.
//!
//! ```text
//! 0 source bids: relation 3, columns 0, 2, hidden watermark; append-only
//! 1 gate late: window_end > __watermark; append-only
//!     <- 0 one-to-one, watermark of 0
//!     state: no state
//! ```

use std::fmt;

use super::{Edge, Exchange, Graph, NodeKind, WatermarkExpr};

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, node) in self.nodes.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{} {} {}", node.id, node.kind.word(), node.name)?;
            write_kind(f, &node.kind)?;
            if node.append_only {
                f.write_str("; append-only")?;
            }
            if let Some(parallelism) = node.parallelism {
                write!(f, "; on {parallelism} workers")?;
            }
            for edge in &node.inputs {
                write!(f, "\n    <- {}", edge.from)?;
                write_edge(f, self, edge)?;
            }
            if let NodeKind::Operator(spec) = &node.kind {
                write!(f, "\n    state: {}", spec.bounded_by())?;
            }
        }
        Ok(())
    }
}

fn write_kind(f: &mut fmt::Formatter<'_>, kind: &NodeKind) -> fmt::Result {
    match kind {
        NodeKind::Source(source) => {
            write!(f, ": relation {}, columns {}", source.relation, list(&source.columns))?;
            if source.watermark {
                f.write_str(", hidden watermark")?;
            }
            Ok(())
        }
        NodeKind::Relation(relation) => write!(f, ": relation {}", relation.relation),
        NodeKind::Operator(spec) => write!(f, ": {}", spec.detail()),
        NodeKind::Publish(publish) if publish.key.is_empty() => write!(f, ": relation {}", publish.relation),
        NodeKind::Publish(publish) => write!(f, ": relation {}, key {}", publish.relation, list(&publish.key)),
        NodeKind::Sink(sink) => write!(f, ": relation {}", sink.relation),
    }
}

fn write_edge(f: &mut fmt::Formatter<'_>, graph: &Graph, edge: &Edge) -> fmt::Result {
    if edge.port > 0 {
        write!(f, " port {}", edge.port)?;
    }
    match &edge.exchange {
        Exchange::OneToOne => f.write_str(" one-to-one")?,
        Exchange::Key(columns) => {
            let schema = graph.edge_schema(edge).unwrap_or_default();
            let name = |&column: &usize| schema.columns.get(column).map_or("?", |column| column.name.as_str());
            write!(f, " exchange by key ({})", columns.iter().map(name).collect::<Vec<_>>().join(", "))?;
        }
        Exchange::Broadcast => f.write_str(" broadcast")?,
        Exchange::Rebalance => f.write_str(" rebalance")?,
        Exchange::Gather => f.write_str(" gather")?,
    }
    match &edge.watermark {
        WatermarkExpr::None => Ok(()),
        expr @ (WatermarkExpr::Input(_) | WatermarkExpr::Shift(..) | WatermarkExpr::Min(_) | WatermarkExpr::Clock) => {
            write!(f, ", watermark {expr}")
        }
    }
}

fn list(columns: &[usize]) -> String {
    columns.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for WatermarkExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WatermarkExpr::None => f.write_str("none"),
            WatermarkExpr::Input(node) => write!(f, "of {node}"),
            WatermarkExpr::Shift(inner, us) => write!(f, "{inner} {us:+} us"),
            WatermarkExpr::Clock => f.write_str("of the clock"),
            WatermarkExpr::Min(all) => {
                let all: Vec<_> = all.iter().map(WatermarkExpr::to_string).collect();
                write!(f, "min({})", all.join(", "))
            }
        }
    }
}
