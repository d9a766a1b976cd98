//! Fields that are for one hop only (RFC 9110, section 7.6.1).
use super::parse::trim;
use crate::http::{HeaderId, Headers, RequestHead, ResponseHead};

/// Take hop-by-hop fields from a request; an upgrade keeps `Upgrade`. Of `TE` only `trailers` passes.
pub fn strip_hop_by_hop_request(head: &mut RequestHead, keep_upgrade: bool) {
    let headers = &mut head.headers;
    let options = |value: &[u8]| value.split(|byte| *byte == b',').any(is_trailers);
    let takes_trailers = headers.get_all(HeaderId::Te).any(options);
    strip(headers, keep_upgrade);
    if !takes_trailers {
        headers.remove(HeaderId::Te);
    } else if headers.get(HeaderId::Te) != Some(b"trailers") || headers.get_all(HeaderId::Te).count() > 1 {
        headers.set(HeaderId::Te, b"trailers");
    }
    headers.remove(HeaderId::Http2Settings);
    headers.remove(HeaderId::ProxyAuthorization);
}

fn is_trailers(coding: &[u8]) -> bool {
    trim(coding).eq_ignore_ascii_case(b"trailers")
}

/// Take hop-by-hop fields from a response.
pub fn strip_hop_by_hop_response(head: &mut ResponseHead, keep_upgrade: bool) {
    strip(&mut head.headers, keep_upgrade);
    head.headers.remove(HeaderId::ProxyAuthenticate);
}

fn strip(headers: &mut Headers, keep_upgrade: bool) {
    if headers.has(HeaderId::Connection) {
        strip_named(headers);
        headers.remove(HeaderId::Connection);
    }
    headers.remove(HeaderId::KeepAlive);
    headers.remove(HeaderId::ProxyConnection);
    headers.remove(HeaderId::TransferEncoding);
    if !keep_upgrade {
        headers.remove(HeaderId::Upgrade);
    }
}

/// What `Connection` names goes too, but for fields that a client could remove only to deceive.
fn strip_named(headers: &mut Headers) {
    let is_plain = headers.get_all(HeaderId::Connection).all(|value| {
        value.split(|byte| *byte == b',').map(trim).all(|option| {
            // Names of fields that go or are dealt with anyway.
            let known: [&[u8]; 5] = [b"close", b"keep-alive", b"upgrade", b"te", b"http2-settings"];
            option.is_empty() || known.iter().any(|name| option.eq_ignore_ascii_case(name))
        })
    });
    if is_plain {
        return;
    }
    let named: Vec<Vec<u8>> = headers
        .get_all(HeaderId::Connection)
        .flat_map(|value| value.split(|byte| *byte == b',').map(|option| trim(option).to_ascii_lowercase()))
        .collect();
    for name in named {
        let is_kept = matches!(
            HeaderId::of(&name),
            HeaderId::Host
                | HeaderId::ContentLength
                | HeaderId::TransferEncoding
                | HeaderId::Authorization
                | HeaderId::Cookie
                | HeaderId::XForwardedClientCert
                | HeaderId::XForwardedFor
                | HeaderId::XForwardedProto
                | HeaderId::XForwardedHost
                | HeaderId::XForwardedPort
                | HeaderId::XRequestId
                | HeaderId::Upgrade
                | HeaderId::Te
        );
        let is_ours = name.starts_with(b"x-ripstop-") || name.starts_with(b"x-envoy-");
        if !is_kept && !is_ours && !name.is_empty() {
            headers.remove_name(&name);
        }
    }
}
