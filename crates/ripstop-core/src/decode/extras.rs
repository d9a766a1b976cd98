//! What only the native data plane does: `metadata.filter_metadata["ripstop.native"]` of routes and clusters.
use super::reader::Reader;
use crate::snapshot::{ClusterExtras, FallbackHop, FallbackTriggers, Metadata, MetadataValue, RouteExtras};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The key that Ripstop's own settings have in `filter_metadata`.
const FILTER: &str = "ripstop.native";

type Fields = HashMap<String, MetadataValue>;

/// Extras of a route: `primary`, `fallbacks`, `retryWithKey`.
pub(super) fn route_extras(reader: &mut Reader, metadata: &Metadata) -> RouteExtras {
    let Some(fields) = metadata.0.get(FILTER) else { return RouteExtras::default() };
    inside(reader, |reader| {
        only(reader, fields, &["primary", "fallbacks", "retryWithKey"]);
        RouteExtras {
            primary: Some(text(reader, fields, "primary")).filter(|name| !name.is_empty()),
            fallbacks: list(reader, fields, "fallbacks", fallback),
            retry_with_key: flag(reader, fields, "retryWithKey"),
        }
    })
}

/// Extras of a cluster: `balancer`, `halfOpen`, `rampMs`.
pub(super) fn cluster_extras(reader: &mut Reader, metadata: &Metadata) -> ClusterExtras {
    let Some(fields) = metadata.0.get(FILTER) else { return ClusterExtras::default() };
    inside(reader, |reader| {
        only(reader, fields, &["balancer", "halfOpen", "rampMs"]);
        let balancer = text(reader, fields, "balancer");
        if !matches!(&*balancer, "" | "peak_ewma") {
            reader.fault_at("balancer", format!("'{balancer}' is not known; peak_ewma is"));
        }
        ClusterExtras {
            peak_ewma: &*balancer == "peak_ewma",
            half_open: flag(reader, fields, "halfOpen"),
            ramp: Duration::from_millis(whole(reader, fields, "rampMs", 3_600_000)),
        }
    })
}

fn inside<T>(reader: &mut Reader, decode: impl FnOnce(&mut Reader) -> T) -> T {
    reader.at(&format!("filter_metadata[{FILTER}]"), decode)
}

fn fallback(reader: &mut Reader, value: &MetadataValue) -> Option<FallbackHop> {
    let MetadataValue::Struct(fields) = value else {
        reader.fault("is not a struct");
        return None;
    };
    only(reader, fields, &["cluster", "service", "authority", "on"]);
    let cluster = text(reader, fields, "cluster");
    reader.text("cluster", &cluster);
    let on = match fields.get("on") {
        Some(MetadataValue::Struct(on)) => reader.at("on", |reader| triggers(reader, on)),
        _ => {
            reader.fault_at("on", "is required, as a struct");
            return None;
        }
    };
    Some(FallbackHop {
        cluster,
        service: text(reader, fields, "service"),
        authority: text(reader, fields, "authority"),
        on,
    })
}

fn triggers(reader: &mut Reader, fields: &Fields) -> FallbackTriggers {
    only(reader, fields, &["noHealthy", "breakerOpen", "overflow", "timeout", "status"]);
    FallbackTriggers {
        no_healthy: flag(reader, fields, "noHealthy"),
        breaker_open: flag(reader, fields, "breakerOpen"),
        overflow: flag(reader, fields, "overflow"),
        timeout: flag(reader, fields, "timeout"),
        status: list(reader, fields, "status", statuses),
    }
}

/// `5xx`, `503` or `500-504`; a number is a single status.
fn statuses(reader: &mut Reader, value: &MetadataValue) -> Option<(u16, u16)> {
    let text = match value {
        MetadataValue::Text(text) => text.clone(),
        MetadataValue::Number(number) => number.to_string(),
        _ => String::new(),
    };
    let range = match text.strip_suffix("xx") {
        Some(class) => {
            class.parse().ok().filter(|class| (1..=5).contains(class)).map(|c: u16| (c * 100, c * 100 + 99))
        }
        None => {
            let (first, last) = text.split_once('-').unwrap_or((&text, &text));
            first.trim().parse().ok().zip(last.trim().parse().ok())
        }
    };
    let range = range.filter(|(first, last)| *first >= 100 && first <= last && *last <= 599);
    if range.is_none() {
        reader.fault("is not a status such as \"503\", \"5xx\" or \"500-504\"");
    }
    range
}

// --- fields of a struct ---

fn only(reader: &mut Reader, fields: &Fields, known: &[&str]) {
    let mut unknown: Vec<&String> = fields.keys().filter(|key| !known.contains(&&***key)).collect();
    unknown.sort();
    for key in unknown {
        reader.fault_at(key, "is not known");
    }
}

fn text(reader: &mut Reader, fields: &Fields, key: &str) -> Arc<str> {
    match fields.get(key) {
        None => Arc::from(""),
        Some(MetadataValue::Text(text)) => Arc::from(&**text),
        Some(_) => {
            reader.fault_at(key, "is not text");
            Arc::from("")
        }
    }
}

fn flag(reader: &mut Reader, fields: &Fields, key: &str) -> bool {
    match fields.get(key) {
        None => false,
        Some(MetadataValue::Bool(value)) => *value,
        Some(_) => {
            reader.fault_at(key, "is not a boolean");
            false
        }
    }
}

fn whole(reader: &mut Reader, fields: &Fields, key: &str, most: u64) -> u64 {
    match fields.get(key) {
        None => 0,
        Some(MetadataValue::Number(number)) if *number >= 0.0 && *number <= most as f64 => *number as u64,
        Some(_) => {
            reader.fault_at(key, format!("is not a number between 0 and {most}"));
            0
        }
    }
}

fn list<T>(
    reader: &mut Reader,
    fields: &Fields,
    key: &str,
    decode: impl FnMut(&mut Reader, &MetadataValue) -> Option<T>,
) -> Vec<T> {
    match fields.get(key) {
        None => Vec::new(),
        Some(MetadataValue::List(items)) => reader.each(key, items, decode),
        Some(_) => {
            reader.fault_at(key, "is not a list");
            Vec::new()
        }
    }
}
