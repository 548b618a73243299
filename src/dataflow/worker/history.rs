//! The epochs that the inputs of a job have ended on one worker: what operators are told at the end of each.
//!
//! Watermarks, clock readings and checkpoint flags travel beside the dataflow: they come with the inputs' `Close`
//! messages, which every worker gets alike, and are looked up here when the frontier says that an epoch has ended.

use std::collections::BTreeMap;

use crate::dataflow::{Close, WatermarkExpr};
use crate::operators::EpochEnd;
use crate::types::{Epoch, NodeId, Watermark};

/// Per input node of a job its ended epochs, as far back as any subtask of this worker still needs them.
#[derive(Debug, Default)]
pub(super) struct History {
    inputs: BTreeMap<NodeId, BTreeMap<Epoch, Close>>,
}

impl History {
    /// Input `node` has ended an epoch. An end that was granted, because nothing happened there, says nothing of the
    /// watermark: it stays where it was.
    pub(super) fn record(&mut self, node: NodeId, mut close: Close) {
        let closes = self.inputs.entry(node).or_default();
        if let Some((_, before)) = closes.range(..close.epoch).next_back() {
            close.watermark = close.watermark.max(before.watermark);
        }
        closes.insert(close.epoch, close);
    }

    /// The first epoch from `from` on that one of `inputs` has ended.
    pub(super) fn next(&self, inputs: &[NodeId], from: Epoch) -> Option<Epoch> {
        let next = |input| self.inputs.get(input)?.range(from..).next().map(|(epoch, _)| *epoch);
        inputs.iter().filter_map(next).min()
    }

    /// The newest epoch below `below` that any input has ended.
    pub(super) fn newest_below(&self, below: Epoch) -> Option<Epoch> {
        self.inputs.values().filter_map(|closes| closes.range(..below).next_back().map(|(epoch, _)| *epoch)).max()
    }

    /// What a subtask below `inputs`, with these watermarks at its ports, is told at the end of `epoch`.
    pub(super) fn end(&self, inputs: &[NodeId], ports: &[WatermarkExpr], epoch: Epoch) -> EpochEnd {
        let watermark = |input: NodeId| self.newest(input, epoch).map_or(Watermark::NONE, |close| close.watermark);
        let newest = inputs.iter().filter_map(|&input| self.newest(input, epoch)).max_by_key(|close| close.epoch);
        let clock_us = newest.map_or(0, |close| close.clock_us);
        EpochEnd { epoch, clock_us, watermarks: ports.iter().map(|port| port.evaluate(clock_us, &watermark)).collect() }
    }

    /// Whether `epoch` is to be checkpointed, as far as `inputs` say.
    pub(super) fn is_checkpoint(&self, inputs: &[NodeId], epoch: Epoch) -> bool {
        inputs.iter().any(|input| {
            self.inputs.get(input).and_then(|closes| closes.get(&epoch)).is_some_and(|close| close.checkpoint)
        })
    }

    /// The checkpointed epochs below `below`, ascending.
    pub(super) fn checkpoints_below(&self, below: Epoch) -> Vec<Epoch> {
        let closes = self.inputs.values().flat_map(|closes| closes.range(..below));
        let mut epochs: Vec<Epoch> = closes.filter(|(_, close)| close.checkpoint).map(|(epoch, _)| *epoch).collect();
        epochs.sort_unstable();
        epochs.dedup();
        epochs
    }

    /// Forgets what nobody asks for once all subtasks are at `open` or later: all below it but each input's newest.
    pub(super) fn trim(&mut self, open: Epoch) {
        for closes in self.inputs.values_mut() {
            let Some(newest) = closes.range(..open).next_back().map(|(epoch, _)| *epoch) else { continue };
            let kept = closes.split_off(&newest);
            *closes = kept;
            // Its flag has been seen to.
            if let Some(close) = closes.get_mut(&newest) {
                close.checkpoint = false;
            }
        }
    }

    fn newest(&self, input: NodeId, epoch: Epoch) -> Option<&Close> {
        self.inputs.get(&input)?.range(..=epoch).next_back().map(|(_, close)| close)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(epoch: u64, watermark: i64, checkpoint: bool) -> Close {
        Close { epoch: Epoch(epoch), watermark: Watermark(watermark), clock_us: epoch as i64 * 10, checkpoint }
    }

    #[test]
    fn an_epoch_ends_with_the_newest_watermark_of_each_input() {
        let (a, b) = (NodeId(0), NodeId(1));
        let mut history = History::default();
        history.record(a, close(3, 30, false));
        history.record(a, close(7, 70, true));
        history.record(b, close(5, 55, false));
        let both = WatermarkExpr::Min(vec![WatermarkExpr::Input(a), WatermarkExpr::Input(b)]);
        let ports = [WatermarkExpr::Shift(Box::new(WatermarkExpr::Input(a)), -1), both];
        let epochs = std::iter::successors(history.next(&[a, b], Epoch(0)), |e| history.next(&[a, b], e.next()));
        assert_eq!(epochs.collect::<Vec<_>>(), [Epoch(3), Epoch(5), Epoch(7)]);
        let end = history.end(&[a, b], &ports, Epoch(5));
        assert_eq!((end.clock_us, end.watermarks), (50, vec![Watermark(29), Watermark(30)]));
        assert_eq!(history.end(&[a, b], &ports, Epoch(7)).watermarks, [Watermark(69), Watermark(55)]);
        assert_eq!(history.checkpoints_below(Epoch(8)), [Epoch(7)]);
        assert!(history.is_checkpoint(&[a], Epoch(7)) && !history.is_checkpoint(&[b], Epoch(7)));
        history.record(a, Close { watermark: Watermark::NONE, ..close(8, 0, false) });
        assert_eq!(history.end(&[a, b], &ports, Epoch(8)).watermarks, [Watermark(69), Watermark(55)], "granted");
        history.trim(Epoch(8));
        assert_eq!(history.checkpoints_below(Epoch(8)), []);
        assert_eq!(history.end(&[a, b], &ports, Epoch(9)).watermarks, [Watermark(69), Watermark(55)]);
        assert_eq!(history.newest_below(Epoch(9)), Some(Epoch(8)));
    }
}
