//! Dates of the wall clock in UTC (proleptic Gregorian calendar) and the formats of `%START_TIME(...)%`.
use std::io::Write;
use std::time::Duration;

/// A point of the wall clock, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Civil {
    pub year: i64,
    /// From 1.
    pub month: u8,
    /// From 1.
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    pub nanos: u32,
    /// 0 is Sunday.
    pub weekday: u8,
    /// From 1.
    pub day_of_year: u16,
}

const DAY: u64 = 86_400;

impl Civil {
    /// Of a time since 1970-01-01T00:00:00Z.
    pub fn of(since_epoch: Duration) -> Civil {
        let seconds = since_epoch.as_secs();
        let (days, of_day) = ((seconds / DAY) as i64, seconds % DAY);
        let (year, month, day) = date_of(days);
        let first = days_before(year);
        Civil {
            year,
            month,
            day,
            hour: (of_day / 3600) as u8,
            minute: (of_day / 60 % 60) as u8,
            second: (of_day % 60) as u8,
            nanos: since_epoch.subsec_nanos(),
            weekday: ((days + 4) % 7) as u8,
            day_of_year: (days - first + 1) as u16,
        }
    }
}

/// Days from the epoch to the first of January of a year, which is 1970 or later.
fn days_before(year: i64) -> i64 {
    let past = year - 1;
    let leap_days = past / 4 - past / 100 + past / 400;
    past * 365 + leap_days - 719_162
}

/// Years are counted from March, so that the leap day is the last of its year; eras have 400 years.
fn date_of(days: i64) -> (i64, u8, u8) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u8, day as u8)
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Write a time by a format; None is `%Y-%m-%dT%H:%M:%E3SZ`.
///
/// Known: `%Y %m %d %e %H %I %M %S %p %y %j %a %A %b %B %h %T %R %F %D %s %z %Z %f %n %%`, `%Nf` (N digits of the
/// second's fraction), `%Ns` (seconds), `%ENS`, `%ENf`, `%E*S`, `%Ez`. Any
/// other stays as it is.
pub fn format_time(format: Option<&str>, since_epoch: Duration, out: &mut Vec<u8>) {
    let civil = Civil::of(since_epoch);
    let Some(format) = format else { return default_format(&civil, out) };
    let mut rest = format.as_bytes();
    while let Some(at) = memchr::memchr(b'%', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let used = write_directive(&rest[1..], &civil, since_epoch, out);
        if used == 0 {
            out.push(b'%');
        }
        rest = &rest[1 + used..];
    }
    out.extend_from_slice(rest);
}

fn default_format(civil: &Civil, out: &mut Vec<u8>) {
    let Civil { year, month, day, hour, minute, second, nanos, .. } = civil;
    let millis = nanos / 1_000_000;
    let _ = write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z");
}

/// Write what a directive (without its percent sign) stands for; how many octets it has, 0 when it is unknown.
fn write_directive(directive: &[u8], civil: &Civil, time: Duration, out: &mut Vec<u8>) -> usize {
    match directive {
        [b'E', digits @ (b'0'..=b'9' | b'*'), b'S', ..] => {
            let _ = write!(out, "{:02}", civil.second);
            if *digits != b'0' && (civil.nanos > 0 || *digits != b'*') {
                out.push(b'.');
                fraction(civil.nanos, *digits, out);
            }
            3
        }
        [b'E', digits @ (b'1'..=b'9' | b'*'), b'f', ..] => {
            fraction(civil.nanos, *digits, out);
            3
        }
        [b'E', b'z', ..] => {
            out.extend_from_slice(b"+00:00");
            2
        }
        [digits @ b'1'..=b'9', b'f', ..] => {
            fraction(civil.nanos, *digits, out);
            2
        }
        [b'1'..=b'9', b's', ..] => {
            let _ = write!(out, "{}", time.as_secs());
            2
        }
        [letter, ..] => usize::from(write_letter(*letter, civil, time, out)),
        [] => 0,
    }
}

/// `digits` of the fraction of a second; `*` leaves out zeros at the end.
fn fraction(nanos: u32, digits: u8, out: &mut Vec<u8>) {
    let start = out.len();
    let _ = write!(out, "{nanos:09}");
    match digits {
        b'*' => {
            while out.len() > start + 1 && out.last() == Some(&b'0') {
                out.pop();
            }
        }
        digits => out.truncate(start + usize::from(digits.saturating_sub(b'0')).min(9)),
    }
}

fn write_letter(letter: u8, civil: &Civil, time: Duration, out: &mut Vec<u8>) -> bool {
    let Civil { year, month, day, hour, minute, second, .. } = civil;
    let weekday = WEEKDAYS[usize::from(civil.weekday % 7)];
    let month_name = MONTHS[usize::from(month.saturating_sub(1) % 12)];
    let hour12 = (hour + 11) % 12 + 1;
    let half = if *hour < 12 { "AM" } else { "PM" };
    let written = match letter {
        b'Y' => write!(out, "{year}"),
        b'y' => write!(out, "{:02}", year % 100),
        b'm' => write!(out, "{month:02}"),
        b'd' => write!(out, "{day:02}"),
        b'e' => write!(out, "{day:2}"),
        b'j' => write!(out, "{:03}", civil.day_of_year),
        b'H' => write!(out, "{hour:02}"),
        b'I' => write!(out, "{hour12:02}"),
        b'p' => write!(out, "{half}"),
        b'M' => write!(out, "{minute:02}"),
        b'S' => write!(out, "{second:02}"),
        b'T' => write!(out, "{hour:02}:{minute:02}:{second:02}"),
        b'R' => write!(out, "{hour:02}:{minute:02}"),
        b'F' => write!(out, "{year}-{month:02}-{day:02}"),
        b'D' => write!(out, "{month:02}/{day:02}/{:02}", year % 100),
        b'a' => write!(out, "{}", &weekday[..3]),
        b'A' => write!(out, "{weekday}"),
        b'b' | b'h' => write!(out, "{}", &month_name[..3]),
        b'B' => write!(out, "{month_name}"),
        b's' => write!(out, "{}", time.as_secs()),
        b'f' => write!(out, "{:09}", civil.nanos),
        b'z' => write!(out, "+0000"),
        b'Z' => write!(out, "UTC"),
        b'n' => writeln!(out),
        b'%' => write!(out, "%"),
        _ => return false,
    };
    written.is_ok()
}
