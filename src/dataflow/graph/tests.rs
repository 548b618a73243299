//! Round trips, checks and the text of graphs.

use super::*;
use crate::operators::UnionSpec;
use crate::types::{Column, SqlType};

fn columns() -> Schema {
    Schema::new(vec![Column::new("k", SqlType::BigInt), Column::new("v", SqlType::Varchar)])
}

fn edge(from: u32, exchange: Exchange, watermark: WatermarkExpr) -> Edge {
    Edge { from: NodeId(from), port: 0, exchange, watermark }
}

fn node(id: u32, name: &str, kind: NodeKind, inputs: Vec<Edge>) -> Node {
    Node { id: NodeId(id), name: name.into(), kind, inputs, schema: columns(), append_only: id < 2, parallelism: None }
}

fn graph() -> Graph {
    let source = SourceInput { relation: RelationId(3), columns: vec![0, 2], watermark: false };
    let both = WatermarkExpr::Min(vec![
        WatermarkExpr::Input(NodeId(0)),
        WatermarkExpr::Shift(Box::new(WatermarkExpr::Input(NodeId(1))), -5),
    ]);
    Graph::new(vec![
        node(0, "bids", NodeKind::Source(source), vec![]),
        node(1, "old", NodeKind::Relation(RelationInput { relation: RelationId(4) }), vec![]),
        node(
            2,
            "all",
            NodeKind::Operator(OperatorSpec::Union(UnionSpec { schema: columns(), inputs: 2 })),
            vec![
                edge(0, Exchange::Rebalance, WatermarkExpr::Input(NodeId(0))),
                edge(1, Exchange::Rebalance, WatermarkExpr::None),
            ],
        ),
        node(
            3,
            "answer",
            NodeKind::Publish(PublishSpec { relation: RelationId(9), key: vec![0] }),
            vec![edge(2, Exchange::Key(vec![0]), both)],
        ),
        node(
            4,
            "out",
            NodeKind::Sink(SinkSpec { relation: RelationId(10), changes_only: false }),
            vec![edge(2, Exchange::Gather, WatermarkExpr::None)],
        ),
    ])
}

#[test]
fn json_round_trip() {
    let graph = graph();
    graph.validate().unwrap();
    let read = Graph::from_json(&graph.to_json().unwrap()).unwrap();
    assert_eq!(read, graph);
    assert_eq!(read.hash().unwrap(), graph.hash().unwrap());
    let mut other = graph.clone();
    other.nodes[3].inputs[0].exchange = Exchange::Key(vec![1]);
    assert_ne!(other.hash().unwrap(), graph.hash().unwrap());
    other.version = 2;
    assert_eq!(Graph::from_json(&other.to_json().unwrap()).unwrap_err().kind(), crate::base::ErrorKind::Corrupt);
    assert_eq!(Graph::from_json(b"{").unwrap_err().kind(), crate::base::ErrorKind::Corrupt);
}

#[test]
fn what_follows_from_a_graph() {
    let graph = graph();
    let (a, b) = (NodeId(0), NodeId(1));
    assert_eq!(graph.inputs_above(), [vec![a], vec![b], vec![a, b], vec![a, b], vec![a, b]]);
    let placements = graph.placements();
    assert_eq!(placements[3], Placement::First(None));
    assert_eq!(placements[4], Placement::One(None));
    let runs = |workers: usize| (0..workers).filter(|&w| placements[4].runs_on(w, workers)).count();
    assert!((1..9).all(|workers| runs(workers) == 1));
    assert!((0..=255).all(|group| {
        (0..5).filter(|&w| Placement::First(Some(3)).owns(group, w, 5)).eq([usize::from(group) * 3 / 256])
    }));
}

#[test]
fn explain_shows_every_edge() {
    let expected = "\
0 source bids: relation 3, columns 0, 2; append-only
1 relation old: relation 4; append-only
2 union all: all rows of 2 inputs
    <- 0 rebalance, watermark of 0
    <- 1 rebalance
    state: no state
3 publish answer: relation 9, key 0
    <- 2 exchange by key (k), watermark min(of 0, of 1 -5 us)
4 sink out: relation 10
    <- 2 gather";
    assert_eq!(graph().to_string(), expected);
}

#[test]
fn what_cannot_be_built_is_refused() {
    let refused = |change: fn(&mut Graph), why: &str| {
        let mut graph = graph();
        change(&mut graph);
        let error = graph.validate().unwrap_err();
        assert!(error.report().contains(why), "{}", error.report());
    };
    refused(|g| g.version = 7, "version 7");
    refused(|g| g.nodes.clear(), "0 nodes");
    refused(|g| g.nodes[2].id = NodeId(7), "is called 7");
    refused(|g| g.nodes[2].inputs[0].from = NodeId(3), "not before it");
    refused(|g| g.nodes[2].inputs[0].from = NodeId(77), "not before it");
    refused(|g| drop(g.nodes[2].inputs.pop()), "1 edges for 2");
    refused(|g| g.nodes[3].inputs[0].port = 4, "no output port 4");
    refused(|g| g.nodes[3].inputs[0].exchange = Exchange::Key(vec![2]), "key column 2");
    refused(|g| g.nodes[3].schema.columns.truncate(1), "other types");
    refused(|g| g.nodes[2].inputs[0].watermark = WatermarkExpr::Input(NodeId(1)), "not an input above");
    refused(|g| g.nodes[0].schema.columns.truncate(1), "schema of 1");
    refused(|g| g.nodes[3].parallelism = Some(0), "no worker");
    refused(|g| g.nodes[0].parallelism = Some(1), "on all workers");
    refused(|g| g.nodes.truncate(3), "nobody reads");
}
