//! Floor 6: reads at one epoch, point reads, subscriptions.
