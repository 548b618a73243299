//! Temporal filters: conditions that hold for a while.

use millstream::base::random::Random;

use super::{Draft, Feature, Generator, Kind, Scope, pick};

impl Generator {
    /// Now and then a comparison of a time of `scope` with the clock.
    pub(super) fn maybe_of_clock(&self, random: &mut Random, scope: &Scope, draft: &mut Draft) {
        let is_time = |kind: Kind| matches!(kind, Kind::Timestamp | Kind::TimestampTz);
        let times: Vec<&String> = scope.iter().filter(|(_, kind)| is_time(*kind)).map(|(name, _)| name).collect();
        let Some(time) = random.pick(&times).filter(|_| random.one_in(6)).copied() else { return };
        draft.has(Feature::TemporalFilter);
        let clock = pick(
            random,
            &[
                "{} > now() - INTERVAL '3 hours'",
                "{} <= now()",
                "now() < {} + INTERVAL '45 minutes'",
                "{} BETWEEN now() - INTERVAL '2 hours' AND current_timestamp + INTERVAL '90 minutes'",
                "now() - {} <= INTERVAL '100 minutes'",
                "{} - INTERVAL '1 hour' >= now() AND {} < now() + INTERVAL '5 hours'",
            ],
        );
        let clock = clock.replace("{}", time);
        draft.filter = Some(match draft.filter.take() {
            Some(filter) => format!("({filter}) AND {clock}"),
            None => clock,
        });
    }
}
