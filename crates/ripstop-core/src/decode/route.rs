//! A `Route`: what it matches, redirects, direct responses; forwarding is in `route_action`.
use super::basic;
use super::extras::route_extras;
use super::filters::per_filter;
use super::matching;
use super::mutation;
use super::pattern;
use super::reader::Reader;
use super::route_action::forward;
use super::virtual_host::Inherited;
use crate::snapshot::{DirectResponse, PathMatch, PathRedirect, Redirect, Route, RouteAction, RouteMatch};
use ripstop_xds::envoy::config::route::v3 as proto;

/// A `Route`.
pub(super) fn route(reader: &mut Reader, route: proto::Route, inherited: &Inherited) -> Option<Route> {
    let proto::Route {
        name,
        r#match: wanted,
        metadata,
        decorator,
        typed_per_filter_config,
        request_headers_to_add,
        request_headers_to_remove,
        response_headers_to_add,
        response_headers_to_remove,
        tracing,
        per_request_buffer_limit_bytes,
        stat_prefix,
        request_body_buffer_limit,
        action: wanted_action,
    } = route;
    refuse!(reader, per_request_buffer_limit_bytes, request_body_buffer_limit);
    ignore!("of tracing, which a connection manager is refused for", decorator, tracing);
    ignore!("statistics", stat_prefix);
    let metadata = basic::metadata(metadata);
    let matches = reader.required("match", wanted, route_match);
    let mut action = match wanted_action {
        Some(wanted) => action(reader, wanted, inherited),
        None => {
            reader.fault("has neither route, redirect nor direct_response");
            None
        }
    };
    let extras = reader.at("metadata", |reader| route_extras(reader, &metadata));
    match &mut action {
        Some(RouteAction::Forward(forward)) => forward.extras = extras,
        _ if extras != Default::default() => {
            reader.fault_at("metadata", "ripstop.native is of routes that forward");
        }
        _ => {}
    }
    let request_headers =
        mutation::changes(reader, "request", request_headers_to_add, request_headers_to_remove);
    let response_headers =
        mutation::changes(reader, "response", response_headers_to_add, response_headers_to_remove);
    let per_filter = per_filter(reader, typed_per_filter_config);
    Some(Route {
        name: name.into(),
        matches: matches?,
        action: action?,
        request_headers,
        response_headers,
        per_filter,
        metadata,
    })
}

fn action(reader: &mut Reader, action: proto::route::Action, inherited: &Inherited) -> Option<RouteAction> {
    use proto::route::Action;
    match action {
        Action::Route(wanted) => {
            let made = reader.at("route", |reader| forward(reader, wanted, inherited))?;
            Some(RouteAction::Forward(Box::new(made)))
        }
        Action::Redirect(wanted) => {
            let made = reader.at("redirect", |reader| redirect(reader, wanted))?;
            Some(RouteAction::Redirect(Box::new(made)))
        }
        Action::DirectResponse(wanted) => reader
            .at("direct_response", |reader| direct_response(reader, wanted, inherited.max_body))
            .map(RouteAction::Direct),
        Action::FilterAction(_) => {
            reader.fault_at("filter_action", "is not supported");
            None
        }
        Action::NonForwardingAction(_) => {
            reader.fault_at("non_forwarding_action", "is not supported");
            None
        }
    }
}

// --- matching ---

fn route_match(reader: &mut Reader, wanted: proto::RouteMatch) -> Option<RouteMatch> {
    let proto::RouteMatch {
        case_sensitive,
        runtime_fraction,
        headers,
        query_parameters,
        grpc,
        tls_context,
        dynamic_metadata,
        filter_state,
        path_specifier,
    } = wanted;
    refuse!(reader, tls_context, dynamic_metadata, filter_state);
    let case_sensitive = case_sensitive.unwrap_or(true);
    let fraction = runtime_fraction.map(|share| {
        basic::runtime_fraction_or(reader, "runtime_fraction", Some(share), crate::snapshot::Millionths::ALL)
    });
    let headers = reader.each("headers", headers, matching::header);
    let query = reader.each("query_parameters", query_parameters, matching::query);
    let path = path(reader, path_specifier, case_sensitive)?;
    Some(RouteMatch { path, case_sensitive, headers, query, fraction, only_grpc: grpc.is_some() })
}

fn path(
    reader: &mut Reader,
    specifier: Option<proto::route_match::PathSpecifier>,
    case_sensitive: bool,
) -> Option<PathMatch> {
    use proto::route_match::PathSpecifier as Specifier;
    let bytes = |text: String| {
        let text = if case_sensitive { text } else { text.to_ascii_lowercase() };
        text.into_bytes().into_boxed_slice()
    };
    Some(match specifier {
        Some(Specifier::Prefix(prefix)) => PathMatch::Prefix(bytes(prefix)),
        Some(Specifier::Path(path)) => PathMatch::Exact(bytes(path)),
        Some(Specifier::SafeRegex(regex)) => {
            PathMatch::Regex(reader.at("safe_regex", |reader| pattern::full_match(reader, regex))?)
        }
        Some(Specifier::PathSeparatedPrefix(prefix)) => {
            if prefix.len() < 2 || prefix.ends_with('/') || prefix.contains(['?', '#']) {
                let problem = format!("'{prefix}' must not be empty, end with / or hold ? or #");
                reader.fault_at("path_separated_prefix", problem);
            }
            PathMatch::Separated(bytes(prefix))
        }
        Some(Specifier::ConnectMatcher(proto::route_match::ConnectMatcher {})) => PathMatch::Connect,
        Some(Specifier::PathMatchPolicy(_)) => {
            reader.fault_at("path_match_policy", "is not supported");
            return None;
        }
        None => {
            reader.fault("has neither path, prefix nor another path specifier");
            return None;
        }
    })
}

// --- redirects, direct responses ---

fn redirect(reader: &mut Reader, wanted: proto::RedirectAction) -> Option<Redirect> {
    use proto::redirect_action::{RedirectResponseCode as Code, SchemeRewriteSpecifier as Scheme};
    let proto::RedirectAction {
        host_redirect,
        port_redirect,
        response_code,
        strip_query,
        scheme_rewrite_specifier,
        path_rewrite_specifier,
    } = wanted;
    let status = match reader.choice("response_code", response_code) {
        Code::MovedPermanently => 301,
        Code::Found => 302,
        Code::SeeOther => 303,
        Code::TemporaryRedirect => 307,
        Code::PermanentRedirect => 308,
    };
    let (scheme, https) = match scheme_rewrite_specifier {
        Some(Scheme::HttpsRedirect(https)) => (None, https),
        Some(Scheme::SchemeRedirect(scheme)) => (header_value(reader, "scheme_redirect", scheme), false),
        None => (None, false),
    };
    Some(Redirect {
        status,
        scheme,
        https,
        host: header_value(reader, "host_redirect", host_redirect),
        port: reader.port("port_redirect", port_redirect),
        path: path_redirect(reader, path_rewrite_specifier)?,
        strips_query: strip_query,
    })
}

fn path_redirect(
    reader: &mut Reader,
    specifier: Option<proto::redirect_action::PathRewriteSpecifier>,
) -> Option<PathRedirect> {
    use proto::redirect_action::PathRewriteSpecifier as Specifier;
    Some(match specifier {
        None => PathRedirect::Keep,
        Some(Specifier::PathRedirect(path)) => {
            header_value(reader, "path_redirect", path).map_or(PathRedirect::Keep, PathRedirect::Full)
        }
        Some(Specifier::PrefixRewrite(prefix)) => {
            header_value(reader, "prefix_rewrite", prefix).map_or(PathRedirect::Keep, PathRedirect::Prefix)
        }
        Some(Specifier::RegexRewrite(rewrite)) => {
            let (regex, substitution) =
                reader.at("regex_rewrite", |reader| pattern::substitution(reader, rewrite))?;
            PathRedirect::Regex(regex, substitution)
        }
    })
}

/// A text that becomes (a part of) a header; None when it is empty.
pub(super) fn header_value(reader: &mut Reader, field: &str, value: String) -> Option<Box<[u8]>> {
    if value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        reader.fault_at(field, "must not hold line breaks");
    }
    (!value.is_empty()).then(|| value.into_bytes().into())
}

fn direct_response(
    reader: &mut Reader,
    wanted: proto::DirectResponseAction,
    max_body: usize,
) -> Option<DirectResponse> {
    let proto::DirectResponseAction { status, body, body_format } = wanted;
    refuse!(reader, body_format);
    let status = reader.within("status", status, 200, 599) as u16;
    let given = body.is_some();
    let body = reader.optional("body", body, |reader, source| {
        let body = basic::data(reader, source)?;
        if body.len() > max_body {
            reader.fault(format!("has {} bytes, more than {max_body}", body.len()));
        }
        Some(body)
    });
    (given == body.is_some()).then(|| DirectResponse { status, body: body.unwrap_or_default().into() })
}
