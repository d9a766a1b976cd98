//! One statistic as it is shown: its name in text, its name and labels for Prometheus.
use super::block::Kind;
use super::histogram::HistogramSum;

/// What is shown.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    Counter(u64),
    Gauge(u64),
    Histogram(Box<HistogramSum>),
}

/// What statistics of one thing have in common: their text prefix, their Prometheus prefix, their labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// `cluster.reviews.`
    pub text: String,
    /// `cluster_`
    pub metric: String,
    /// `envoy_cluster_name="reviews"`
    pub labels: Vec<(String, String)>,
}

impl Scope {
    /// A scope without labels, by its text: `server.`
    pub fn plain(text: &str) -> Scope {
        Scope { text: text.to_owned(), metric: text.to_owned(), labels: Vec::new() }
    }

    /// A scope with one label: `kind` is `cluster`, `http`, `listener` or `tcp`.
    pub fn named(kind: &str, label: &str, name: &str) -> Scope {
        Scope {
            text: format!("{kind}.{name}."),
            metric: format!("{kind}."),
            labels: vec![(label.to_owned(), name.to_owned())],
        }
    }

    /// A cluster's, by its `stat_name`.
    pub fn cluster(name: &str) -> Scope {
        Scope::named("cluster", "envoy_cluster_name", name)
    }
}

/// One statistic.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// As text shows it: `cluster.reviews.upstream_rq_2xx`.
    pub name: String,
    /// As Prometheus shows it: `envoy_cluster_upstream_rq_xx`.
    pub metric: String,
    /// The metric's labels, the innermost first.
    pub labels: Vec<(String, String)>,
    /// Its value.
    pub value: Value,
    /// Whether anything was ever counted (`usedonly`).
    pub is_used: bool,
}

impl Sample {
    /// A statistic of a scope. Status codes in its name become a label, as Envoy's tag extraction does.
    pub fn new(scope: &Scope, stat: &str, value: Value, is_used: bool) -> Sample {
        let (metric, code) = without_code(stat);
        let mut labels: Vec<_> = code.map(|(label, code)| (label.to_owned(), code)).into_iter().collect();
        labels.extend(scope.labels.iter().cloned());
        Sample {
            name: format!("{}{stat}", scope.text),
            metric: metric_name(&format!("{}{metric}", scope.metric)),
            labels,
            value,
            is_used,
        }
    }

    /// A gauge that is always shown.
    pub fn gauge(scope: &Scope, stat: &str, value: u64) -> Sample {
        Sample::new(scope, stat, Value::Gauge(value), true)
    }

    /// A gauge that is shown when it is not zero.
    pub fn rare_gauge(scope: &Scope, stat: &str, value: u64) -> Sample {
        Sample::new(scope, stat, Value::Gauge(value), value > 0)
    }

    /// A counter.
    pub fn counter(scope: &Scope, stat: &str, value: u64) -> Sample {
        Sample::new(scope, stat, Value::Counter(value), value > 0)
    }

    /// A value of a table of statistics.
    pub(super) fn of(scope: &Scope, (stat, kind): (&str, Kind), value: u64, is_scope_used: bool) -> Sample {
        match kind {
            Kind::Counter => Sample::counter(scope, stat, value),
            // A gauge that was raised and lowered again counts as used; its scope's counters tell.
            Kind::Gauge => Sample::new(scope, stat, Value::Gauge(value), value > 0 || is_scope_used),
        }
    }

    /// A histogram.
    pub(super) fn histogram(scope: &Scope, stat: &str, sum: HistogramSum) -> Sample {
        let is_used = sum.count() > 0;
        Sample::new(scope, stat, Value::Histogram(Box::new(sum)), is_used)
    }
}

/// `upstream_rq_2xx` is `upstream_rq_xx` of class 2, `upstream_rq_503` is `upstream_rq` of code 503.
fn without_code(stat: &str) -> (String, Option<(&'static str, String)>) {
    if let Some((start, code)) = stat.rsplit_once('_').filter(|(start, _)| start.ends_with("_rq")) {
        let digits = code.bytes().take_while(u8::is_ascii_digit).count();
        match (digits, &code[digits..]) {
            (1, "xx") => {
                return (format!("{start}_xx"), Some(("envoy_response_code_class", code[..1].to_owned())));
            }
            (3, "") => return (start.to_owned(), Some(("envoy_response_code", code.to_owned()))),
            _ => {}
        }
    }
    (stat.to_owned(), None)
}

/// A Prometheus name: `envoy_` before it, and nothing but letters, digits, underscores and colons in it.
pub(super) fn metric_name(text: &str) -> String {
    format!("envoy_{}", label_name(text))
}

/// A label's name, sanitised.
pub(super) fn label_name(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == ':' { c } else { '_' }).collect()
}
