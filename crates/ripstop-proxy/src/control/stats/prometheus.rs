//! `/stats/prometheus`: the text format, with Envoy's names, labels and order.
use super::sample::{Sample, Value};
use std::fmt::Write;

/// The exposition: counters, then gauges, then histograms, each metric once with a `TYPE` line. Sorts `samples`.
pub fn prometheus(samples: &mut [Sample]) -> String {
    samples.sort_by(|a, b| (rank(a), &a.metric, &a.name).cmp(&(rank(b), &b.metric, &b.name)));
    let mut out = String::new();
    let mut last: Option<(u8, &str)> = None;
    for sample in samples.iter() {
        let head = (rank(sample), sample.metric.as_str());
        if last != Some(head) {
            let kind = ["counter", "gauge", "histogram"][usize::from(head.0)];
            let _ = writeln!(out, "# TYPE {} {kind}", sample.metric);
            last = Some(head);
        }
        write_sample(&mut out, sample);
    }
    out
}

fn rank(sample: &Sample) -> u8 {
    match sample.value {
        Value::Counter(_) => 0,
        Value::Gauge(_) => 1,
        Value::Histogram(_) => 2,
    }
}

fn write_sample(out: &mut String, sample: &Sample) {
    let labels = labels(&sample.labels);
    let metric = &sample.metric;
    let _ = match &sample.value {
        Value::Counter(value) | Value::Gauge(value) => writeln!(out, "{metric}{{{labels}}} {value}"),
        Value::Histogram(sum) => {
            let before = if labels.is_empty() { String::new() } else { format!("{labels},") };
            for (bound, count) in sum.cumulative() {
                let _ = writeln!(out, "{metric}_bucket{{{before}le=\"{bound}\"}} {count}");
            }
            let _ = writeln!(out, "{metric}_bucket{{{before}le=\"+Inf\"}} {}", sum.count());
            let _ = writeln!(out, "{metric}_sum{{{labels}}} {}", sum.sum());
            writeln!(out, "{metric}_count{{{labels}}} {}", sum.count())
        }
    };
}

fn labels(labels: &[(String, String)]) -> String {
    let mut out = String::new();
    for (name, value) in labels {
        if !out.is_empty() {
            out.push(',');
        }
        out.extend([name, "=\""]);
        for c in value.chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                c => out.push(c),
            }
        }
        out.push('"');
    }
    out
}
