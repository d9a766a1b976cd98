//! Options of HTTP by version, of both sides: `core.v3.HttpProtocolOptions` and its like.
use super::reader::Reader;
use crate::snapshot::{Http1Options, Http2Options};
use ripstop_xds::envoy::config::core::v3 as core;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const LARGEST_STREAM_COUNT: u32 = 0x7fff_ffff;
const SMALLEST_WINDOW: u32 = 65_535;
const LARGEST_WINDOW: u32 = 0x7fff_ffff;

/// `common_http_protocol_options`; zero means none for the durations, any number for requests.
pub(super) struct Common {
    pub(super) idle_timeout: Duration,
    pub(super) max_connection_duration: Duration,
    pub(super) max_stream_duration: Duration,
    pub(super) max_requests_per_connection: u32,
    pub(super) max_headers_count: u32,
}

/// `common_http_protocol_options`, as a whole optional.
pub(super) fn common(reader: &mut Reader, options: Option<core::HttpProtocolOptions>) -> Common {
    use core::http_protocol_options::HeadersWithUnderscoresAction;
    let core::HttpProtocolOptions {
        idle_timeout,
        max_connection_duration,
        max_headers_count,
        max_response_headers_kb,
        max_stream_duration,
        headers_with_underscores_action,
        max_requests_per_connection,
    } = options.unwrap_or_default();
    reader.at("common_http_protocol_options", |reader| {
        refuse!(reader, max_response_headers_kb);
        if reader.choice::<HeadersWithUnderscoresAction>(
            "headers_with_underscores_action",
            headers_with_underscores_action,
        ) != HeadersWithUnderscoresAction::Allow
        {
            reader.fault_at("headers_with_underscores_action", "only ALLOW is supported");
        }
        Common {
            idle_timeout: reader.span_or("idle_timeout", idle_timeout, HOUR),
            max_connection_duration: reader.span_or(
                "max_connection_duration",
                max_connection_duration,
                Duration::ZERO,
            ),
            max_stream_duration: reader.span_or("max_stream_duration", max_stream_duration, Duration::ZERO),
            max_requests_per_connection: max_requests_per_connection.unwrap_or(0),
            max_headers_count: reader.within(
                "max_headers_count",
                max_headers_count.unwrap_or(100),
                1,
                u32::MAX,
            ),
        }
    })
}

/// `Http1ProtocolOptions`
pub(super) fn http1(
    reader: &mut Reader,
    field: &str,
    options: Option<core::Http1ProtocolOptions>,
) -> Http1Options {
    let core::Http1ProtocolOptions {
        allow_absolute_url,
        accept_http_10,
        default_host_for_http_10,
        header_key_format,
        enable_trailers,
        allow_chunked_length,
        override_stream_error_on_invalid_http_message,
        send_fully_qualified_url,
        use_balsa_parser,
        allow_custom_methods,
        ignore_http_11_upgrade,
    } = options.unwrap_or_default();
    reader.at(field, |reader| {
        refuse!(reader, header_key_format, send_fully_qualified_url, ignore_http_11_upgrade);
        refuse_true!(reader, override_stream_error_on_invalid_http_message);
        if allow_absolute_url == Some(false) {
            reader.fault_at("allow_absolute_url", "false is not supported");
        }
        ignore!(
            "trailers pass, and both lengths in one message are always refused",
            enable_trailers,
            allow_chunked_length
        );
        ignore!(
            "there is one parser, and it takes any token for a method",
            use_balsa_parser,
            allow_custom_methods
        );
    });
    Http1Options { accept_http_10, default_host_for_http_10 }
}

/// `Http2ProtocolOptions`
pub(super) fn http2(
    reader: &mut Reader,
    field: &str,
    options: Option<core::Http2ProtocolOptions>,
) -> Http2Options {
    let core::Http2ProtocolOptions {
        hpack_table_size,
        max_concurrent_streams,
        initial_stream_window_size,
        initial_connection_window_size,
        allow_connect,
        allow_metadata,
        max_outbound_frames,
        max_outbound_control_frames,
        max_consecutive_inbound_frames_with_empty_payload,
        max_inbound_priority_frames_per_stream,
        max_inbound_window_update_frames_per_data_frame_sent,
        stream_error_on_invalid_http_messaging,
        override_stream_error_on_invalid_http_message,
        custom_settings_parameters,
        connection_keepalive,
        use_oghttp2_codec,
        max_metadata_size,
    } = options.unwrap_or_default();
    let default = Http2Options::default();
    reader.at(field, |reader| {
        refuse!(reader, allow_metadata, custom_settings_parameters);
        ignore!("there is one codec, and no metadata", use_oghttp2_codec, max_metadata_size);
        let window = |reader: &mut Reader, field: &str, wanted: Option<u32>, default: u32| {
            reader.within(field, wanted.unwrap_or(default), SMALLEST_WINDOW, LARGEST_WINDOW)
        };
        let at_least_one = |reader: &mut Reader, field: &str, wanted: Option<u32>, default: u32| {
            reader.within(field, wanted.unwrap_or(default), 1, u32::MAX)
        };
        let (keepalive_interval, keepalive_timeout) = keepalive(reader, connection_keepalive);
        Http2Options {
            hpack_table_size: hpack_table_size.unwrap_or(default.hpack_table_size),
            max_concurrent_streams: reader.within(
                "max_concurrent_streams",
                max_concurrent_streams.unwrap_or(default.max_concurrent_streams),
                1,
                LARGEST_STREAM_COUNT,
            ),
            initial_stream_window: window(
                reader,
                "initial_stream_window_size",
                initial_stream_window_size,
                default.initial_stream_window,
            ),
            initial_connection_window: window(
                reader,
                "initial_connection_window_size",
                initial_connection_window_size,
                default.initial_connection_window,
            ),
            allow_connect,
            max_outbound_frames: at_least_one(
                reader,
                "max_outbound_frames",
                max_outbound_frames,
                default.max_outbound_frames,
            ),
            max_outbound_control_frames: at_least_one(
                reader,
                "max_outbound_control_frames",
                max_outbound_control_frames,
                default.max_outbound_control_frames,
            ),
            max_consecutive_empty_frames: max_consecutive_inbound_frames_with_empty_payload
                .unwrap_or(default.max_consecutive_empty_frames),
            max_priority_frames_per_stream: max_inbound_priority_frames_per_stream
                .unwrap_or(default.max_priority_frames_per_stream),
            max_window_update_per_data: at_least_one(
                reader,
                "max_inbound_window_update_frames_per_data_frame_sent",
                max_inbound_window_update_frames_per_data_frame_sent,
                default.max_window_update_per_data,
            ),
            stream_error_on_invalid: override_stream_error_on_invalid_http_message
                .unwrap_or(stream_error_on_invalid_http_messaging),
            keepalive_interval,
            keepalive_timeout,
        }
    })
}

/// `connection_keepalive`: the interval and the timeout of PINGs.
fn keepalive(reader: &mut Reader, settings: Option<core::KeepaliveSettings>) -> (Duration, Duration) {
    let Some(settings) = settings else { return (Duration::ZERO, Duration::ZERO) };
    let core::KeepaliveSettings { interval, timeout, interval_jitter, connection_idle_interval } = settings;
    reader.at("connection_keepalive", |reader| {
        refuse!(reader, connection_idle_interval);
        ignore!("it only spreads PINGs in time", interval_jitter);
        let given = reader.required("timeout", timeout, |_, span| Some(span));
        let timeout = reader.positive_span_or("timeout", given, Duration::ZERO);
        (reader.positive_span_or("interval", interval, Duration::ZERO), timeout)
    })
}
