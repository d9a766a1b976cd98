//! Which records are written (`AccessLogFilter`), and which local replies a mapper is for.
use super::value::{Found, find_dynamic, grpc_status};
use crate::outcome::Flags;
use crate::record::Record;
use crate::route::is_in_share;
use crate::snapshot::{Comparison, LogFilter, MetadataMatch, MetadataValue};

/// Whether a record passes. `random` decides shares.
pub fn passes(filter: &LogFilter, record: &Record<'_>, random: u64) -> bool {
    match filter {
        LogFilter::StatusCode(how, wanted) => compare(*how, record.status.into(), (*wanted).into()),
        LogFilter::Duration(how, wanted) => compare(*how, record.duration.as_millis(), (*wanted).into()),
        // Requests of active health checks are not told apart from others: there is no filter that answers them.
        LogFilter::NotHealthCheck => true,
        LogFilter::Fraction(share) => is_in_share(*share, random),
        LogFilter::And(filters) => filters.iter().all(|filter| passes(filter, record, random)),
        LogFilter::Or(filters) => filters.iter().any(|filter| passes(filter, record, random)),
        LogFilter::Header(wanted) => record.request.is_some_and(|head| wanted.matches(head)),
        LogFilter::ResponseFlag(names) => has_flag(names, record.flags),
        LogFilter::GrpcStatus(statuses, excludes) => {
            statuses.contains(&grpc_status(record).unwrap_or(2)) != *excludes
        }
        LogFilter::Metadata { filter, path, value, if_missing } => match find_dynamic(record, filter, path) {
            None => *if_missing,
            Some(found) => metadata_matches(value, &found),
        },
    }
}

fn compare(how: Comparison, value: u128, wanted: u128) -> bool {
    match how {
        Comparison::Eq => value == wanted,
        Comparison::Ge => value >= wanted,
        Comparison::Le => value <= wanted,
        Comparison::Ne => value != wanted,
    }
}

fn has_flag(names: &[String], flags: Flags) -> bool {
    match names {
        [] => !flags.is_empty(),
        names => {
            !flags.is_empty() && names.iter().filter_map(|name| Flags::of(name)).any(|flag| flags.has(flag))
        }
    }
}

fn metadata_matches(wanted: &MetadataMatch, found: &Found<'_>) -> bool {
    match (wanted, found) {
        (MetadataMatch::Text(wanted), Found::Text(text)) => wanted.matches(text.as_bytes()),
        (MetadataMatch::Bool(wanted), Found::Data(MetadataValue::Bool(value))) => wanted == value,
        (MetadataMatch::Present, _) => true,
        (MetadataMatch::Null, Found::Data(MetadataValue::Null)) => true,
        _ => false,
    }
}
