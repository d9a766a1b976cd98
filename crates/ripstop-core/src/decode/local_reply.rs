//! `LocalReplyConfig`: what answers of the proxy itself look like.
use super::access_log;
use super::basic;
use super::mutation;
use super::reader::Reader;
use crate::snapshot::{LocalReplies, LogFormat, Part, ReplyBody, ReplyMapper, Template};
use ripstop_xds::envoy::config::core::v3 as core;
use ripstop_xds::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;

/// `local_reply_config`
pub(super) fn local_replies(reader: &mut Reader, config: Option<hcm::LocalReplyConfig>) -> LocalReplies {
    let Some(hcm::LocalReplyConfig { mappers, body_format }) = config else { return LocalReplies::default() };
    reader.at("local_reply_config", |reader| LocalReplies {
        mappers: reader.each("mappers", mappers, mapper),
        body: reader.optional("body_format", body_format, body),
    })
}

fn mapper(reader: &mut Reader, mapper: hcm::ResponseMapper) -> Option<ReplyMapper> {
    let hcm::ResponseMapper { filter, status_code, body: text, body_format_override, headers_to_add } =
        mapper;
    let filter = reader.required("filter", filter, access_log::filter);
    let status = status_code.map(|status| reader.within("status_code", status, 200, 599) as u16);
    let text = reader.optional("body", text, |reader, source| {
        // It is what %LOCAL_REPLY_BODY% says, not a template itself.
        let text = basic::text(reader, source)?;
        Some(Template(vec![Part::Literal(text.into())]))
    });
    let body_format = reader.optional("body_format_override", body_format_override, body);
    let headers = reader.each("headers_to_add", headers_to_add, mutation::header_add);
    Some(ReplyMapper { filter: filter?, status, body: text, body_format, headers })
}

fn body(reader: &mut Reader, form: core::SubstitutionFormatString) -> Option<ReplyBody> {
    let (format, content_type) = access_log::format(reader, form)?;
    if content_type.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        reader.fault_at("content_type", "must not hold line breaks");
    }
    let content_type = match (&format, content_type.is_empty()) {
        (_, false) => content_type,
        (LogFormat::Json { .. }, true) => "application/json".to_owned(),
        (LogFormat::Text(_), true) => "text/plain".to_owned(),
    };
    Some(ReplyBody { format, content_type })
}
