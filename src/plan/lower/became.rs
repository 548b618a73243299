//! Which operators each node of a logical plan became, for EXPLAIN.

use std::fmt;

use datafusion::logical_expr::LogicalPlan;

/// Nodes of a logical plan in the order in which they were lowered, each before its inputs.
#[derive(Clone, Debug, Default)]
pub struct Became {
    nodes: Vec<Lowered>,
    depth: usize,
}

#[derive(Clone, Debug)]
struct Lowered {
    depth: usize,
    /// The node, without its inputs.
    text: String,
    /// Operators were numbered from here.
    from: usize,
    /// And up to here, those of its inputs among them.
    to: usize,
}

impl Became {
    /// Lowering of `plan` begins, with so many operators made; gives its place.
    pub(super) fn begin(&mut self, plan: &LogicalPlan, made: usize) -> usize {
        self.nodes.push(Lowered { depth: self.depth, text: plan.display().to_string(), from: made, to: made });
        self.depth += 1;
        self.nodes.len() - 1
    }

    /// Lowering of the node at `place` ends, with so many operators made.
    pub(super) fn end(&mut self, place: usize, made: usize) {
        self.depth = self.depth.saturating_sub(1);
        if let Some(node) = self.nodes.get_mut(place) {
            node.to = made;
        }
    }

    /// The operators of the node at `place` that are not of its inputs.
    fn own(&self, place: usize) -> Vec<usize> {
        let Some(node) = self.nodes.get(place) else { return Vec::new() };
        let inputs = self.nodes.iter().skip(place + 1).take_while(|input| input.depth > node.depth);
        let inputs: Vec<_> = inputs.filter(|input| input.depth == node.depth + 1).map(|i| i.from..i.to).collect();
        (node.from..node.to).filter(|number| !inputs.iter().any(|range| range.contains(number))).collect()
    }
}

impl fmt::Display for Became {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, node) in self.nodes.iter().enumerate() {
            let own = self.own(place);
            let numbers = match own.is_empty() {
                true => "steps of the chain behind it".to_string(),
                false => own.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
            };
            writeln!(f, "{:indent$}{} => {numbers}", "", node.text, indent = 2 * node.depth)?;
        }
        Ok(())
    }
}
