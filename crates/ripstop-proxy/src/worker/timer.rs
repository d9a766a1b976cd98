//! A lazy wheel of 16 ms slots. A deadline that moves later costs one store: the entry that fires early is armed again.
use ripstop_core::time::Time;
use std::time::Duration;

/// Width of a slot: deadlines are kept to within it, like Envoy's timers to within its event loop's turn.
const TICK_NANOS: u64 = 16_000_000;
const SLOTS: u64 = 512;

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timed {
    Connection(u32),
    Exchange(u32),
}

/// When the entry that counts for a slot will fire; `NEVER` when none is in the wheel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Armed(pub Time);

impl Default for Armed {
    fn default() -> Armed {
        Armed(Time::NEVER)
    }
}

pub(crate) struct Wheel {
    slots: Vec<Vec<(Timed, Time)>>,
    /// The first tick that has not fired.
    next: u64,
    entries: usize,
}

impl Wheel {
    pub fn new() -> Wheel {
        Wheel { slots: (0..SLOTS).map(|_| Vec::new()).collect(), next: 0, entries: 0 }
    }

    /// See that `what` is looked at by `deadline`. Nothing happens when it will be looked at before then anyhow.
    pub fn arm(&mut self, what: Timed, deadline: Time, armed: &mut Armed) {
        if deadline >= armed.0 {
            return;
        }
        let wanted = deadline.0.div_ceil(TICK_NANOS).max(self.next);
        let tick = wanted.min(self.next + SLOTS - 1);
        let at = Time(tick * TICK_NANOS);
        if at >= armed.0 {
            return;
        }
        armed.0 = at;
        self.slots[(tick % SLOTS) as usize].push((what, at));
        self.entries += 1;
    }

    /// How long until the next entry; None when there is none.
    pub fn wait(&self, now: Time) -> Option<Duration> {
        if self.entries == 0 {
            return None;
        }
        let tick =
            (self.next..self.next + SLOTS).find(|tick| !self.slots[(tick % SLOTS) as usize].is_empty())?;
        Some(Time(tick * TICK_NANOS).since(now))
    }

    /// Move what is due at `now` into `due`.
    pub fn advance(&mut self, now: Time, due: &mut Vec<(Timed, Time)>) {
        let last = now.0 / TICK_NANOS;
        if self.entries == 0 {
            self.next = self.next.max(last + 1);
            return;
        }
        // After a long sleep one round sees every slot.
        let first = self.next.max((last + 1).saturating_sub(SLOTS));
        for tick in first..=last {
            let slot = &mut self.slots[(tick % SLOTS) as usize];
            self.entries -= slot.len();
            due.append(slot);
        }
        self.next = self.next.max(last + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_fires_once_and_not_before() {
        let (mut wheel, mut armed, mut due) = (Wheel::new(), Armed::default(), Vec::new());
        wheel.arm(Timed::Exchange(7), Time::from_millis(100), &mut armed);
        wheel.advance(Time::from_millis(95), &mut due);
        assert!(due.is_empty());
        wheel.advance(Time::from_millis(130), &mut due);
        assert_eq!(due.len(), 1);
        assert_eq!(due[0].0, Timed::Exchange(7));
    }

    #[test]
    fn a_later_deadline_adds_no_entry_and_an_earlier_one_does() {
        let (mut wheel, mut armed) = (Wheel::new(), Armed::default());
        wheel.arm(Timed::Connection(1), Time::from_millis(500), &mut armed);
        wheel.arm(Timed::Connection(1), Time::from_millis(900), &mut armed);
        assert_eq!(wheel.entries, 1);
        wheel.arm(Timed::Connection(1), Time::from_millis(50), &mut armed);
        assert_eq!(wheel.entries, 2);
    }

    #[test]
    fn far_deadlines_are_seen_within_a_round() {
        let (mut wheel, mut armed, mut due) = (Wheel::new(), Armed::default(), Vec::new());
        wheel.arm(Timed::Connection(1), Time::from_millis(3_600_000), &mut armed);
        assert!(wheel.wait(Time(0)).is_some_and(|wait| wait < Duration::from_secs(9)));
        wheel.advance(Time::from_millis(20_000), &mut due);
        assert_eq!(due.len(), 1);
    }
}
