//! What the process says of itself: lines on standard error.
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Level {
    Error,
    Warning,
    Info,
    Debug,
}

static WANTED: AtomicU8 = AtomicU8::new(Level::Warning as u8);

impl Level {
    /// By its name; Envoy's names are understood too.
    pub fn of(name: &str) -> Option<Level> {
        Some(match name {
            "off" | "critical" | "error" | "err" => Level::Error,
            "warning" | "warn" => Level::Warning,
            "info" => Level::Info,
            "debug" | "trace" => Level::Debug,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

/// What is said from now on: this and what matters more.
pub fn set_level(level: Level) {
    WANTED.store(level as u8, Relaxed);
}

/// Say a line, if it matters enough. Used through the macros.
pub fn say(level: Level, text: std::fmt::Arguments) {
    if level as u8 <= WANTED.load(Relaxed) {
        use std::io::Write;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = format!("{} {} {text}\n", moment(since_epoch), level.name());
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

macro_rules! log {
    ($level:ident, $($text:tt)*) => {
        $crate::control::log::say($crate::control::log::Level::$level, format_args!($($text)*))
    };
}
pub(crate) use log;

/// `2026-11-25T13:05:09.042Z`
fn moment(since_epoch: Duration) -> String {
    let (days, second) = (since_epoch.as_secs() / 86_400, since_epoch.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let milli = since_epoch.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// The date so many days after 1 January 1970, in the Gregorian calendar, whose years begin in March here.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 1 March of year 0
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_told_in_utc() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_798_761_599, "2026-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(moment(Duration::from_secs(seconds)), text);
        }
    }
}
