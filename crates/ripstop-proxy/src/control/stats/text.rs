//! `/stats`: one line a statistic, counters and gauges by name, then histograms by name, as Envoy lists them.
use super::sample::{Sample, Value};
use std::fmt::Write;

const QUANTILES: [(&str, f64); 10] = [
    ("P0", 0.0),
    ("P25", 0.25),
    ("P50", 0.5),
    ("P75", 0.75),
    ("P90", 0.9),
    ("P95", 0.95),
    ("P99", 0.99),
    ("P99.5", 0.995),
    ("P99.9", 0.999),
    ("P100", 1.0),
];

/// The lines. Sorts `samples`.
pub fn text(samples: &mut [Sample]) -> String {
    samples.sort_by(|a, b| (is_histogram(a), &a.name).cmp(&(is_histogram(b), &b.name)));
    let mut out = String::new();
    for sample in samples.iter() {
        let _ = match &sample.value {
            Value::Counter(value) | Value::Gauge(value) => writeln!(out, "{}: {value}", sample.name),
            Value::Histogram(sum) if sum.count() == 0 => writeln!(out, "{}: No recorded values", sample.name),
            Value::Histogram(sum) => {
                let shares = QUANTILES.map(|(label, share)| {
                    let value = (sum.quantile(share).unwrap_or_default() * 1000.0).round() / 1000.0;
                    format!("{label}({value},{value})")
                });
                writeln!(out, "{}: {}", sample.name, shares.join(" "))
            }
        };
    }
    out
}

fn is_histogram(sample: &Sample) -> bool {
    matches!(sample.value, Value::Histogram(_))
}
