//! Whether anything of a connection manager reads dynamic metadata: writing it costs allocations, so it is left out where
//! nobody looks.
use ripstop_core::snapshot::{
    HttpManager, JsonFormat, LogFilter, LogFormat, LogSink, Operator, Part, ReplyMapper, RouteSource,
    StatsValue, Template,
};

pub(crate) fn is_read(manager: &HttpManager) -> bool {
    manager.access_logs.iter().any(|log| log.filter.as_ref().is_some_and(by_filter) || by_sink(&log.sink))
        || manager.local_replies.mappers.iter().any(by_mapper)
        || manager.local_replies.body.as_ref().is_some_and(|body| by_format(&body.format))
        || by_routes(&manager.routes)
}

/// Routes that come apart from the listener may do anything tomorrow.
fn by_routes(routes: &RouteSource) -> bool {
    let RouteSource::Inline(config) = routes else { return true };
    let hosts = &config.virtual_hosts;
    let of_routes = hosts.iter().flat_map(|host| &host.routes);
    [&config.request_headers, &config.response_headers]
        .into_iter()
        .chain(hosts.iter().flat_map(|host| [&host.request_headers, &host.response_headers]))
        .chain(of_routes.flat_map(|route| [&route.request_headers, &route.response_headers]))
        .any(|changes| changes.add.iter().any(|header| by_template(&header.value)))
}

fn by_sink(sink: &LogSink) -> bool {
    match sink {
        LogSink::File { format, .. } => by_format(format),
        LogSink::Stats(log) => {
            let tags =
                log.counters.iter().flat_map(|c| &c.tags).chain(log.histograms.iter().flat_map(|h| &h.tags));
            tags.into_iter().any(|(_, template)| by_template(template))
                || log.histograms.iter().any(|histogram| by_template(&histogram.value))
                || log
                    .counters
                    .iter()
                    .any(|c| matches!(&c.value, StatsValue::Format(format) if by_template(format)))
        }
    }
}

fn by_format(format: &LogFormat) -> bool {
    match format {
        LogFormat::Text(template) => by_template(template),
        LogFormat::Json { fields, .. } => fields.iter().any(|(_, value)| by_json(value)),
    }
}

fn by_json(value: &JsonFormat) -> bool {
    match value {
        JsonFormat::Template(template) => by_template(template),
        JsonFormat::Struct(fields) => fields.iter().any(|(_, value)| by_json(value)),
        JsonFormat::List(values) => values.iter().any(by_json),
        JsonFormat::Number(_) | JsonFormat::Bool(_) | JsonFormat::Null => false,
    }
}

fn by_template(template: &Template) -> bool {
    template.0.iter().any(|part| matches!(part, Part::Operator(Operator::DynamicMetadata(..), _)))
}

fn by_mapper(mapper: &ReplyMapper) -> bool {
    by_filter(&mapper.filter)
        || mapper.body.as_ref().is_some_and(by_template)
        || mapper.body_format.as_ref().is_some_and(|body| by_format(&body.format))
        || mapper.headers.iter().any(|header| by_template(&header.value))
}

fn by_filter(filter: &LogFilter) -> bool {
    match filter {
        LogFilter::Metadata { .. } => true,
        LogFilter::And(filters) | LogFilter::Or(filters) => filters.iter().any(by_filter),
        _ => false,
    }
}
