//! Access logs, their filters and formats.
use super::basic;
use super::matching;
use super::missing::StreamAccessLog;
use super::reader::{Reader, type_name};
use super::template;
use crate::outcome::Flags;
use crate::snapshot::{
    AccessLog, Comparison, JsonFormat, LogFilter, LogFormat, LogSink, Millionths, StatsCounter,
    StatsHistogram, StatsLog, StatsValue, Template,
};
use prost_types::Any;
use ripstop_xds::envoy::config::accesslog::v3 as accesslog;
use ripstop_xds::envoy::config::core::v3 as core;
use ripstop_xds::envoy::extensions::access_loggers::file::v3 as file;
use ripstop_xds::envoy::extensions::access_loggers::stats::v3 as stats;
use std::sync::Arc;

/// What Envoy writes when no format is given.
const DEFAULT_FORMAT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% ",
    "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% ",
    "\"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" ",
    "\"%UPSTREAM_HOST%\"\n"
);

/// Envoy's flags that never occur here; a filter may name them, and never matches by them.
const FOREIGN_FLAGS: [&str; 5] = ["RLSE", "IH", "DF", "DO", "UDO"];

/// `access_log` of a connection manager or a TCP proxy.
pub(super) fn access_logs(reader: &mut Reader, logs: Vec<accesslog::AccessLog>) -> Vec<Arc<AccessLog>> {
    reader.each("access_log", logs, |reader, log| access_log(reader, log).map(Arc::new))
}

fn access_log(reader: &mut Reader, log: accesslog::AccessLog) -> Option<AccessLog> {
    use accesslog::access_log::ConfigType;
    let accesslog::AccessLog { name, filter: wanted, config_type } = log;
    ignore!("the type says what it is", name);
    let has_filter = wanted.is_some();
    let found = reader.optional("filter", wanted, filter);
    let sink = reader.required("typed_config", config_type, |reader, config| {
        let ConfigType::TypedConfig(any) = config;
        sink(reader, &any)
    })?;
    (has_filter == found.is_some()).then_some(AccessLog { filter: found, sink })
}

fn sink(reader: &mut Reader, any: &Any) -> Option<LogSink> {
    match type_name(any) {
        "envoy.extensions.access_loggers.file.v3.FileAccessLog" => {
            let config = reader.unpack(any)?;
            file_log(reader, config)
        }
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog" => stream_log(reader, any, "/dev/stdout"),
        "envoy.extensions.access_loggers.stream.v3.StderrAccessLog" => stream_log(reader, any, "/dev/stderr"),
        "envoy.extensions.access_loggers.stats.v3.Config" => {
            let config = reader.unpack(any)?;
            Some(LogSink::Stats(Arc::new(stats_log(reader, config))))
        }
        _ => {
            reader.unknown(any);
            None
        }
    }
}

fn file_log(reader: &mut Reader, config: file::FileAccessLog) -> Option<LogSink> {
    use file::file_access_log::AccessLogFormat;
    let file::FileAccessLog { path, access_log_format } = config;
    reader.text("path", &path);
    let format = match access_log_format {
        None => default_format(reader),
        Some(AccessLogFormat::Format(text)) if text.is_empty() => default_format(reader),
        Some(AccessLogFormat::Format(text)) => template_at(reader, "format", &text).map(LogFormat::Text),
        // The older form makes a string of every value; a number is written as one here.
        Some(AccessLogFormat::JsonFormat(fields)) => Some(json(reader, "json_format", fields, false)),
        Some(AccessLogFormat::TypedJsonFormat(fields)) => {
            Some(json(reader, "typed_json_format", fields, false))
        }
        Some(AccessLogFormat::LogFormat(form)) => {
            reader.at("log_format", |reader| format(reader, form)).map(|(format, _)| format)
        }
    }?;
    Some(LogSink::File { path: path.into(), format })
}

fn stream_log(reader: &mut Reader, any: &Any, path: &str) -> Option<LogSink> {
    let StreamAccessLog { log_format } = reader.unpack(any)?;
    let format = match log_format {
        Some(form) => reader.at("log_format", |reader| format(reader, form)).map(|(format, _)| format),
        None => default_format(reader),
    }?;
    Some(LogSink::File { path: path.into(), format })
}

fn default_format(reader: &mut Reader) -> Option<LogFormat> {
    template_of(reader, DEFAULT_FORMAT).map(LogFormat::Text)
}

/// A template in a field.
pub(super) fn template_at(reader: &mut Reader, field: &str, text: &str) -> Option<Template> {
    reader.at(field, |reader| template_of(reader, text))
}

fn template_of(reader: &mut Reader, text: &str) -> Option<Template> {
    template::parse(text).map_err(|problem| reader.fault(problem)).ok()
}

/// A `SubstitutionFormatString` and the content type it asks for, if it does.
pub(super) fn format(
    reader: &mut Reader,
    form: core::SubstitutionFormatString,
) -> Option<(LogFormat, String)> {
    use core::substitution_format_string::Format;
    let core::SubstitutionFormatString {
        omit_empty_values,
        content_type,
        formatters,
        json_format_options,
        format,
    } = form;
    reader.each("formatters", formatters, formatter);
    // Keys are kept in order whether or not `sort_properties` asks for it.
    ignore!("fields are always sorted", json_format_options);
    let format = match format {
        Some(Format::TextFormat(text)) => LogFormat::Text(template_at(reader, "text_format", &text)?),
        Some(Format::TextFormatSource(source)) => {
            let text = reader.at("text_format_source", |reader| {
                let text = basic::text(reader, source)?;
                template_of(reader, &text)
            });
            LogFormat::Text(text?)
        }
        Some(Format::JsonFormat(fields)) => json(reader, "json_format", fields, omit_empty_values),
        None => {
            reader.fault("has no format");
            return None;
        }
    };
    Some((format, content_type))
}

/// Formatters that Envoy has as extensions and that are built in here.
fn formatter(reader: &mut Reader, extension: core::TypedExtensionConfig) -> Option<()> {
    let core::TypedExtensionConfig { name, typed_config } = extension;
    ignore!("the type says what it is", name);
    reader.required("typed_config", typed_config, |reader, any| {
        match type_name(&any) {
            "envoy.extensions.formatter.metadata.v3.Metadata" => reader.only_empty(&any),
            _ => reader.unknown(&any),
        }
        Some(())
    })
}

fn json(reader: &mut Reader, field: &str, fields: prost_types::Struct, omit_empty: bool) -> LogFormat {
    let fields = reader.at(field, |reader| json_fields(reader, fields));
    LogFormat::Json { fields, omit_empty, sort: true }
}

fn json_fields(reader: &mut Reader, fields: prost_types::Struct) -> Vec<(String, JsonFormat)> {
    let mut made = Vec::new();
    for (key, value) in fields.fields {
        let found = reader.at(&key, |reader| json_value(reader, value));
        made.extend(found.map(|found| (key, found)));
    }
    made
}

fn json_value(reader: &mut Reader, value: prost_types::Value) -> Option<JsonFormat> {
    use prost_types::value::Kind;
    Some(match value.kind {
        None | Some(Kind::NullValue(_)) => JsonFormat::Null,
        Some(Kind::BoolValue(value)) => JsonFormat::Bool(value),
        Some(Kind::NumberValue(value)) => JsonFormat::Number(value),
        Some(Kind::StringValue(text)) => JsonFormat::Template(template_of(reader, &text)?),
        Some(Kind::StructValue(fields)) => JsonFormat::Struct(json_fields(reader, fields)),
        Some(Kind::ListValue(list)) => {
            let mut made = Vec::new();
            for value in list.values {
                made.push(json_value(reader, value)?);
            }
            JsonFormat::List(made)
        }
    })
}

// --- the statistics logger ---

fn stats_log(reader: &mut Reader, config: stats::Config) -> StatsLog {
    let stats::Config { stat_prefix, histograms, counters } = config;
    StatsLog {
        counters: reader.each("counters", counters, counter),
        histograms: reader.each("histograms", histograms, histogram),
        prefix: stat_prefix,
    }
}

fn stat(reader: &mut Reader, stat: stats::config::Stat) -> Option<(String, Vec<(String, Template)>)> {
    let stats::config::Stat { name, tags } = stat;
    reader.text("name", &name);
    let tags = reader.each("tags", tags, |reader, tag| {
        let stats::config::Tag { name, value_format } = tag;
        reader.text("name", &name);
        template_at(reader, "value_format", &value_format).map(|value| (name, value))
    });
    Some((name, tags))
}

fn counter(reader: &mut Reader, counter: stats::config::Counter) -> Option<StatsCounter> {
    let stats::config::Counter { stat: named, value_format, value_fixed } = counter;
    let named = reader.required("stat", named, stat);
    let value = match (value_fixed, value_format.is_empty()) {
        (Some(fixed), true) => Some(StatsValue::Fixed(fixed)),
        (None, false) => template_at(reader, "value_format", &value_format).map(StatsValue::Format),
        _ => {
            reader.fault("needs either value_fixed or value_format");
            None
        }
    };
    let (name, tags) = named?;
    Some(StatsCounter { name, tags, value: value? })
}

fn histogram(reader: &mut Reader, histogram: stats::config::Histogram) -> Option<StatsHistogram> {
    use stats::config::histogram::Unit;
    let stats::config::Histogram { stat: named, unit, value_format } = histogram;
    if reader.choice::<Unit>("unit", unit) == Unit::Percent {
        reader.fault_at("unit", "Percent is not supported");
    }
    let named = reader.required("stat", named, stat);
    let value = template_at(reader, "value_format", &value_format);
    let (name, tags) = named?;
    Some(StatsHistogram { name, tags, value: value? })
}

// --- filters ---

/// An `AccessLogFilter`.
pub(super) fn filter(reader: &mut Reader, wanted: accesslog::AccessLogFilter) -> Option<LogFilter> {
    use accesslog::access_log_filter::FilterSpecifier as Specifier;
    let unsupported = match wanted.filter_specifier {
        Some(Specifier::StatusCodeFilter(accesslog::StatusCodeFilter { comparison: wanted })) => {
            return comparison(reader, "status_code_filter", wanted, LogFilter::StatusCode);
        }
        Some(Specifier::DurationFilter(accesslog::DurationFilter { comparison: wanted })) => {
            return comparison(reader, "duration_filter", wanted, LogFilter::Duration);
        }
        Some(Specifier::NotHealthCheckFilter(_)) => return Some(LogFilter::NotHealthCheck),
        Some(Specifier::RuntimeFilter(wanted)) => {
            let accesslog::RuntimeFilter { runtime_key, percent_sampled, use_independent_randomness } =
                wanted;
            ignore!("there is no runtime, and each record has a chance of its own", runtime_key);
            ignore!("as above", use_independent_randomness);
            let share =
                basic::fraction_or(reader, "runtime_filter.percent_sampled", percent_sampled, Millionths(0));
            return Some(LogFilter::Fraction(share));
        }
        Some(Specifier::AndFilter(accesslog::AndFilter { filters })) => {
            return several(reader, "and_filter", filters).map(LogFilter::And);
        }
        Some(Specifier::OrFilter(accesslog::OrFilter { filters })) => {
            return several(reader, "or_filter", filters).map(LogFilter::Or);
        }
        Some(Specifier::HeaderFilter(accesslog::HeaderFilter { header })) => {
            return reader
                .at("header_filter", |reader| reader.required("header", header, matching::header))
                .map(LogFilter::Header);
        }
        Some(Specifier::ResponseFlagFilter(accesslog::ResponseFlagFilter { flags })) => {
            return Some(response_flags(reader, flags));
        }
        Some(Specifier::GrpcStatusFilter(wanted)) => return Some(grpc_statuses(reader, wanted)),
        Some(Specifier::MetadataFilter(wanted)) => {
            return reader.at("metadata_filter", |reader| metadata_filter(reader, wanted));
        }
        Some(Specifier::TraceableFilter(_)) => "traceable_filter",
        Some(Specifier::LogTypeFilter(_)) => "log_type_filter",
        Some(Specifier::ExtensionFilter(_)) => "extension_filter",
        None => {
            reader.fault("is empty");
            return None;
        }
    };
    reader.fault(format!("{unsupported} is not supported"));
    None
}

fn comparison(
    reader: &mut Reader,
    field: &str,
    wanted: Option<accesslog::ComparisonFilter>,
    make: impl FnOnce(Comparison, u32) -> LogFilter,
) -> Option<LogFilter> {
    use accesslog::comparison_filter::Op;
    reader.at(field, |reader| {
        reader.required("comparison", wanted, |reader, wanted| {
            let accesslog::ComparisonFilter { op, value } = wanted;
            let op = match reader.choice("op", op) {
                Op::Eq => Comparison::Eq,
                Op::Ge => Comparison::Ge,
                Op::Le => Comparison::Le,
                Op::Ne => Comparison::Ne,
            };
            reader.required("value", value, |_, value| {
                let core::RuntimeUInt32 { default_value, runtime_key } = value;
                ignore!("there is no runtime; the default always holds", runtime_key);
                Some(make(op, default_value))
            })
        })
    })
}

fn several(
    reader: &mut Reader,
    field: &str,
    filters: Vec<accesslog::AccessLogFilter>,
) -> Option<Vec<LogFilter>> {
    if filters.len() < 2 {
        reader.fault_at(field, "needs two filters or more");
    }
    Some(reader.at(field, |reader| reader.each("filters", filters, filter)))
}

fn response_flags(reader: &mut Reader, flags: Vec<String>) -> LogFilter {
    let flags = reader.each("response_flag_filter.flags", flags, |reader, flag| {
        if Flags::of(&flag).is_none() && !FOREIGN_FLAGS.contains(&&*flag) {
            reader.fault(format!("'{flag}' is not a response flag"));
        }
        Some(flag)
    });
    LogFilter::ResponseFlag(flags)
}

fn grpc_statuses(reader: &mut Reader, wanted: accesslog::GrpcStatusFilter) -> LogFilter {
    use accesslog::grpc_status_filter::Status;
    let accesslog::GrpcStatusFilter { statuses, exclude } = wanted;
    let statuses = reader.each("grpc_status_filter.statuses", statuses, |reader, status| {
        if Status::try_from(status).is_err() {
            reader.fault(format!("the value {status} is not known"));
        }
        u32::try_from(status).ok()
    });
    LogFilter::GrpcStatus(statuses, exclude)
}

fn metadata_filter(reader: &mut Reader, wanted: accesslog::MetadataFilter) -> Option<LogFilter> {
    let accesslog::MetadataFilter { matcher, match_if_key_not_found } = wanted;
    let (filter, path, value) = reader.required("matcher", matcher, matching::metadata)?;
    Some(LogFilter::Metadata { filter, path, value, if_missing: match_if_key_not_found.unwrap_or(true) })
}
