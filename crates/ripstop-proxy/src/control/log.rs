//! What the process says of itself: lines on standard error.
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

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
        let line = format!("ripstop-proxy: {}: {text}\n", level.name());
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

macro_rules! log {
    ($level:ident, $($text:tt)*) => {
        $crate::control::log::say($crate::control::log::Level::$level, format_args!($($text)*))
    };
}
pub(crate) use log;
