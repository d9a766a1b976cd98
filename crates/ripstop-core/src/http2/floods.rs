//! Budgets for frames that cost the peer nothing and us something (RFC 9113, section 10.5).
use super::frame::HEAD;
use super::{Code, ConnectionError, Settings, fault};
use crate::time::Time;

/// Window updates that need no DATA before them.
const FREE_WINDOW_UPDATES: u64 = 5;

/// A peer that reads a long frame in pieces may give the window back in pieces.
pub(super) const PIECE: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Floods {
    /// Answers that may still be in the output.
    control: u32,
    /// Empty DATA frames in a row.
    empty: u32,
    priorities: u64,
    window_updates: u64,
    /// Streams that ended by the peer's reset or fault, less those that ended well.
    resets: u32,
    /// Streams ever opened, by either side.
    pub(super) opened: u64,
    /// DATA ever sent, in pieces of up to [`PIECE`].
    pub(super) data_sent: u64,
    refilled: Time,
}

fn calm(reason: &'static str) -> ConnectionError {
    fault(Code::ENHANCE_YOUR_CALM, reason)
}

impl Floods {
    /// An answer to a frame goes into the output, which has `waiting` octets. There cannot be more answers in it than fit,
    /// so that one that is written now and then never reaches the limit.
    pub(super) fn control(&mut self, waiting: usize, limits: &Settings) -> Result<(), ConnectionError> {
        let fit = u32::try_from(waiting / HEAD).unwrap_or(u32::MAX);
        self.control = self.control.min(fit) + 1;
        if self.control > limits.max_outbound_control_frames {
            return Err(calm("too many control frames to answer"));
        }
        Ok(())
    }

    /// A DATA frame came to its end; `is_empty`: it carried nothing and ended nothing.
    pub(super) fn data(&mut self, is_empty: bool, limits: &Settings) -> Result<(), ConnectionError> {
        self.empty = if is_empty { self.empty + 1 } else { 0 };
        if self.empty > limits.max_consecutive_empty_frames {
            return Err(calm("too many empty DATA frames"));
        }
        Ok(())
    }

    pub(super) fn priority(&mut self, limits: &Settings) -> Result<(), ConnectionError> {
        self.priorities += 1;
        if self.priorities > u64::from(limits.max_priority_frames_per_stream) * (1 + self.opened) {
            return Err(calm("too many PRIORITY frames"));
        }
        Ok(())
    }

    pub(super) fn window_update(&mut self, limits: &Settings) -> Result<(), ConnectionError> {
        self.window_updates += 1;
        let per_data = u64::from(limits.max_window_update_per_data);
        if self.window_updates > FREE_WINDOW_UPDATES + 2 * (self.opened + per_data * self.data_sent) {
            return Err(calm("too many WINDOW_UPDATE frames"));
        }
        Ok(())
    }

    /// A stream ended by the peer's reset, or by its fault.
    pub(super) fn reset(&mut self, limits: &Settings) -> Result<(), ConnectionError> {
        self.resets += 1;
        if self.resets > limits.max_resets {
            return Err(calm("too many streams reset"));
        }
        Ok(())
    }

    /// A stream ended well.
    pub(super) fn completed(&mut self) {
        self.resets = self.resets.saturating_sub(1);
    }

    /// Give back a tenth of the budget of resets for each second that has passed; halve what waits, which may be written.
    pub(super) fn refill(&mut self, now: Time, limits: &Settings) {
        let seconds = u32::try_from(now.since(self.refilled).as_secs()).unwrap_or(u32::MAX);
        if seconds > 0 {
            self.refilled = now;
            self.control = self.control.checked_shr(seconds).unwrap_or(0);
            self.resets = self.resets.saturating_sub((limits.max_resets / 10).max(1).saturating_mul(seconds));
        }
    }
}
