//! Matchers of text, headers, query parameters and metadata.
use super::basic;
use super::pattern::full_match;
use super::reader::Reader;
use crate::http::HeaderId;
use crate::snapshot::{HeaderMatch, HeaderMatcher, MetadataMatch, QueryMatcher, StringMatch, StringMatcher};
use ipnet::IpNet;
use ripstop_xds::envoy::config::core::v3 as core;
use ripstop_xds::envoy::config::route::v3 as route;
use ripstop_xds::envoy::r#type::matcher::v3 as matcher;
use ripstop_xds::envoy::r#type::v3 as kinds;

/// A `StringMatcher`.
pub(super) fn string(reader: &mut Reader, wanted: matcher::StringMatcher) -> Option<StringMatcher> {
    use matcher::string_matcher::MatchPattern;
    let matcher::StringMatcher { ignore_case, match_pattern } = wanted;
    let lowered = |text: String| {
        let text = if ignore_case { text.to_ascii_lowercase() } else { text };
        text.into_bytes().into_boxed_slice()
    };
    let kind = match match_pattern {
        Some(MatchPattern::Exact(text)) => StringMatch::Exact(lowered(text)),
        Some(MatchPattern::Prefix(text)) => {
            reader.text("prefix", &text);
            StringMatch::Prefix(lowered(text))
        }
        Some(MatchPattern::Suffix(text)) => {
            reader.text("suffix", &text);
            StringMatch::Suffix(lowered(text))
        }
        Some(MatchPattern::Contains(text)) => {
            reader.text("contains", &text);
            StringMatch::Contains(lowered(text))
        }
        Some(MatchPattern::SafeRegex(regex)) => {
            StringMatch::Regex(reader.at("safe_regex", |reader| full_match(reader, regex))?)
        }
        Some(MatchPattern::Custom(_)) => {
            reader.fault_at("custom", "is not supported");
            return None;
        }
        None => {
            reader.fault("is empty");
            return None;
        }
    };
    Some(StringMatcher { kind, ignore_case })
}

/// A `HeaderMatcher`. Without a specifier the header must be there.
pub(super) fn header(reader: &mut Reader, wanted: route::HeaderMatcher) -> Option<HeaderMatcher> {
    let route::HeaderMatcher { name, invert_match, treat_missing_header_as_empty, header_match_specifier } =
        wanted;
    let name = looked_up_name(reader, "name", &name);
    let kind = match header_match_specifier {
        None => HeaderMatch::Present(true),
        Some(specifier) => header_specifier(reader, specifier)?,
    };
    Some(HeaderMatcher {
        id: HeaderId::of(&name),
        name,
        kind,
        invert: invert_match,
        missing_is_empty: treat_missing_header_as_empty,
    })
}

fn header_specifier(
    reader: &mut Reader,
    specifier: route::header_matcher::HeaderMatchSpecifier,
) -> Option<HeaderMatch> {
    use route::header_matcher::HeaderMatchSpecifier as Specifier;
    let text = |kind: StringMatch| HeaderMatch::Text(StringMatcher { kind, ignore_case: false });
    let bytes = |value: String| value.into_bytes().into_boxed_slice();
    Some(match specifier {
        Specifier::StringMatch(wanted) => {
            HeaderMatch::Text(reader.at("string_match", |reader| string(reader, wanted))?)
        }
        Specifier::PresentMatch(wanted) => HeaderMatch::Present(wanted),
        Specifier::RangeMatch(kinds::Int64Range { start, end }) => HeaderMatch::Range(start, end),
        // The older forms; empty prefixes and the like are refused as in `StringMatcher`.
        Specifier::ExactMatch(value) => text(StringMatch::Exact(bytes(value))),
        Specifier::SafeRegexMatch(regex) => {
            text(StringMatch::Regex(reader.at("safe_regex_match", |reader| full_match(reader, regex))?))
        }
        Specifier::PrefixMatch(value) => {
            reader.text("prefix_match", &value);
            text(StringMatch::Prefix(bytes(value)))
        }
        Specifier::SuffixMatch(value) => {
            reader.text("suffix_match", &value);
            text(StringMatch::Suffix(bytes(value)))
        }
        Specifier::ContainsMatch(value) => {
            reader.text("contains_match", &value);
            text(StringMatch::Contains(bytes(value)))
        }
    })
}

/// A header's name in lower case: a token, with a colon before it for a pseudo header.
pub(super) fn header_name(reader: &mut Reader, field: &str, name: &str) -> Box<[u8]> {
    let token = name.strip_prefix(':').unwrap_or(name);
    if token.is_empty() || !token.bytes().all(is_token) {
        reader.fault_at(field, format!("'{name}' is not a header name"));
    }
    name.to_ascii_lowercase().into_bytes().into()
}

/// The name of a header that is read; Envoy knows the host by its name in HTTP/2.
pub(super) fn looked_up_name(reader: &mut Reader, field: &str, name: &str) -> Box<[u8]> {
    match header_name(reader, field, name) {
        host if &*host == b"host" => Box::from(&b":authority"[..]),
        name => name,
    }
}

/// A character of a token (RFC 9110, section 5.6.2).
pub(super) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// A `QueryParameterMatcher`.
pub(super) fn query(reader: &mut Reader, wanted: route::QueryParameterMatcher) -> Option<QueryMatcher> {
    use route::query_parameter_matcher::QueryParameterMatchSpecifier as Specifier;
    let route::QueryParameterMatcher { name, query_parameter_match_specifier } = wanted;
    reader.text("name", &name);
    let value = match query_parameter_match_specifier {
        None | Some(Specifier::PresentMatch(true)) => None,
        Some(Specifier::PresentMatch(false)) => {
            reader.fault_at("present_match", "false is not supported");
            return None;
        }
        Some(Specifier::StringMatch(wanted)) => {
            Some(reader.at("string_match", |reader| string(reader, wanted))?)
        }
    };
    Some(QueryMatcher { name: name.into_bytes().into(), value })
}

/// A `PathMatcher`.
pub(super) fn path(reader: &mut Reader, wanted: matcher::PathMatcher) -> Option<StringMatcher> {
    let matcher::PathMatcher { rule } = wanted;
    match rule {
        Some(matcher::path_matcher::Rule::Path(wanted)) => reader.at("path", |reader| string(reader, wanted)),
        None => {
            reader.fault("is empty");
            None
        }
    }
}

/// A `MetadataMatcher`: filter, path, value.
pub(super) fn metadata(
    reader: &mut Reader,
    wanted: matcher::MetadataMatcher,
) -> Option<(String, Vec<String>, MetadataMatch)> {
    let matcher::MetadataMatcher { filter, path, value, invert } = wanted;
    refuse!(reader, invert);
    reader.text("filter", &filter);
    if path.is_empty() {
        reader.fault_at("path", "must not be empty");
    }
    let path = reader.each("path", path, |reader, segment| match segment.segment {
        Some(matcher::metadata_matcher::path_segment::Segment::Key(key)) => Some(key),
        None => {
            reader.fault("is empty");
            None
        }
    });
    let value = reader.required("value", value, metadata_value)?;
    Some((filter, path, value))
}

fn metadata_value(reader: &mut Reader, wanted: matcher::ValueMatcher) -> Option<MetadataMatch> {
    use matcher::value_matcher::MatchPattern;
    let unsupported = match wanted.match_pattern {
        Some(MatchPattern::StringMatch(wanted)) => {
            let text = reader.at("string_match", |reader| string(reader, wanted))?;
            return Some(MetadataMatch::Text(text));
        }
        Some(MatchPattern::BoolMatch(wanted)) => return Some(MetadataMatch::Bool(wanted)),
        Some(MatchPattern::PresentMatch(true)) => return Some(MetadataMatch::Present),
        Some(MatchPattern::NullMatch(_)) => return Some(MetadataMatch::Null),
        Some(MatchPattern::PresentMatch(false)) => "present_match",
        Some(MatchPattern::DoubleMatch(_)) => "double_match",
        Some(MatchPattern::ListMatch(_)) => "list_match",
        Some(MatchPattern::OrMatch(_)) => "or_match",
        None => {
            reader.fault("is empty");
            return None;
        }
    };
    reader.fault_at(unsupported, "is not supported");
    None
}

/// `CidrRange`s.
pub(super) fn cidrs(reader: &mut Reader, field: &str, ranges: Vec<core::CidrRange>) -> Vec<IpNet> {
    reader.each(field, ranges, basic::cidr)
}
