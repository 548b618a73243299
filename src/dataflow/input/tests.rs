//! Bounds, dealing, order and waking of job inputs.

use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use arrow::array::{Int64Array, RecordBatch};

use super::*;
use crate::types::{Column, RowCodec, Schema, SqlType, key_group, worker_of};

fn batch(values: impl IntoIterator<Item = i64>) -> DeltaBatch {
    let schema = Schema::new(vec![Column::new("k", SqlType::BigInt)]).arrow();
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
    DeltaBatch::inserts(RecordBatch::try_new(schema, vec![column]).unwrap())
}

fn close(epoch: u64) -> Close {
    Close { epoch: Epoch(epoch), watermark: Watermark::NONE, clock_us: 0, checkpoint: false }
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn drain(receiver: &InputReceiver) -> Vec<InputMessage> {
    let waker = Waker::from(Arc::new(Woken::default()));
    std::iter::from_fn(|| receiver.poll(&waker)).collect()
}

fn rows(messages: &[InputMessage]) -> usize {
    let rows = |message: &InputMessage| match message {
        InputMessage::Deltas(_, batch) => batch.len(),
        InputMessage::Close(_) | InputMessage::Grant(..) | InputMessage::Skip(_) => 0,
    };
    messages.iter().map(rows).sum()
}

#[test]
fn deltas_are_bounded_and_control_is_not() {
    let (input, receivers) = job_input(1, 1000, Deal::InTurn);
    let receiver = receivers.receiver(0).unwrap();
    assert!(matches!(input.try_send(Epoch(1), batch(0..100)).unwrap(), Sent::Accepted));
    assert!(matches!(input.try_send(Epoch(1), batch(0..100)).unwrap(), Sent::Full(_)));
    assert!(matches!(input.try_send(Epoch(1), batch(0..10)).unwrap(), Sent::Accepted));
    let waited = input.send_blocking(Epoch(1), batch(0..100), Duration::from_millis(1)).unwrap();
    assert!(matches!(waited, Sent::Full(full) if full.len() == 100));
    for epoch in 1..100 {
        input.close(close(epoch));
    }
    assert_eq!(input.queued_bytes(), 880);
    let messages = drain(&receiver);
    assert_eq!((messages.len(), rows(&messages), input.queued_bytes()), (101, 110, 0));
    assert!(
        matches!(input.try_send(Epoch(1), batch(0..9000)).unwrap(), Sent::Accepted),
        "an empty input takes any size"
    );
}

#[test]
fn a_sender_that_waits_is_let_in() {
    let (input, receivers) = job_input(1, 100, Deal::InTurn);
    let receiver = receivers.receiver(0).unwrap();
    assert!(matches!(input.try_send(Epoch(1), batch(0..100)).unwrap(), Sent::Accepted));
    let sender = input.clone();
    let blocking =
        std::thread::spawn(move || sender.send_blocking(Epoch(1), batch(0..7), Duration::from_secs(60)).unwrap());
    let sender = input.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let waiting = std::thread::spawn(move || runtime.block_on(sender.send(Epoch(1), batch(0..5))).unwrap());
    let mut read = 0;
    while read < 112 {
        read += rows(&drain(&receiver));
        std::thread::yield_now();
    }
    assert!(matches!(blocking.join().unwrap(), Sent::Accepted));
    assert!(matches!(waiting.join().unwrap(), Sent::Accepted));
}

#[test]
fn rows_go_to_the_owner_of_their_key() {
    let (input, receivers) = job_input(3, 1 << 20, Deal::Key(vec![0]));
    assert!(matches!(input.try_send(Epoch(1), batch(0..1000)).unwrap(), Sent::Accepted));
    input.close(close(1));
    let codec = RowCodec::new(vec![SqlType::BigInt]);
    let mut total = 0;
    for worker in 0..3 {
        let messages = drain(&receivers.receiver(worker).unwrap());
        assert!(matches!(messages.last(), Some(InputMessage::Close(close)) if close.epoch == Epoch(1)));
        for message in &messages {
            if let InputMessage::Deltas(_, batch) = message {
                let keys = codec.encode(batch.rows.columns()).unwrap();
                assert!(keys.iter().all(|key| worker_of(key_group(key), 3) == worker));
            }
        }
        total += rows(&messages);
    }
    assert_eq!(total, 1000);
}

#[test]
fn batches_go_in_turn() {
    let (input, receivers) = job_input(2, 1 << 20, Deal::InTurn);
    for _ in 0..4 {
        assert!(matches!(input.try_send(Epoch(1), batch(0..3)).unwrap(), Sent::Accepted));
    }
    for worker in 0..2 {
        assert_eq!(rows(&drain(&receivers.receiver(worker).unwrap())), 6);
    }
    assert!(receivers.receiver(2).is_none());
}

#[test]
fn an_empty_queue_leaves_its_waker() {
    let (input, receivers) = job_input(1, 1 << 20, Deal::InTurn);
    let receiver = receivers.receiver(0).unwrap();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    assert!(receiver.poll(&waker).is_none());
    input.close(close(1));
    input.close(close(2));
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    let first = receiver.poll(&waker).unwrap();
    receiver.put_back(first);
    assert!(matches!(receiver.poll(&waker), Some(InputMessage::Close(close)) if close.epoch == Epoch(1)));
}

#[test]
fn a_dropped_job_is_gone() {
    let (input, receivers) = job_input(2, 100, Deal::InTurn);
    let receiver = receivers.receiver(0).unwrap();
    drop(receivers);
    assert!(!input.is_gone());
    assert!(matches!(input.try_send(Epoch(1), batch(0..100)).unwrap(), Sent::Accepted));
    drop(receiver);
    assert!(input.is_gone());
    assert_eq!(input.queued_bytes(), 0);
    let sent = input.send_blocking(Epoch(1), batch(0..100), Duration::from_secs(60)).unwrap();
    assert!(matches!(sent, Sent::Gone));
}

#[test]
fn the_end_of_an_epoch_passes_rows_of_later_ones() {
    let (input, receivers) = job_input(1, 1 << 20, Deal::InTurn);
    let receiver = receivers.receiver(0).unwrap();
    assert!(matches!(input.try_send(Epoch(2), batch(0..3)).unwrap(), Sent::Accepted));
    input.close(close(1));
    input.close(close(2));
    let waker = Waker::from(Arc::new(Woken::default()));
    assert!(
        matches!(receiver.poll_close(Epoch(1), &waker), Some(InputMessage::Close(close)) if close.epoch == Epoch(1))
    );
    assert!(matches!(receiver.poll_close(Epoch(1), &waker), Some(InputMessage::Skip(Epoch(2)))));
    assert!(receiver.poll_close(Epoch(2), &waker).is_none(), "rows of epoch 2 must come before its end");
    assert!(matches!(receiver.poll(&waker), Some(InputMessage::Deltas(Epoch(2), _))));
}
