//! Fields that are for one hop only (RFC 9110, section 7.6.1).
use super::parse::trim;
use crate::http::{HeaderId, Headers, RequestHead, ResponseHead};

/// Take hop-by-hop fields from a request; an upgrade keeps `Upgrade`.
pub fn strip_hop_by_hop_request(head: &mut RequestHead, keep_upgrade: bool) {
    let trailers = head.headers.get(HeaderId::Te).is_some_and(|value| {
        value.split(|byte| *byte == b',').any(|coding| trim(coding).eq_ignore_ascii_case(b"trailers"))
    });
    strip(&mut head.headers, keep_upgrade);
    head.headers.remove(HeaderId::Te);
    head.headers.remove(HeaderId::Http2Settings);
    head.headers.remove(HeaderId::ProxyAuthorization);
    if trailers {
        head.headers.push_known(HeaderId::Te, b"trailers");
    }
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
            let known: [&[u8]; 4] = [b"close", b"keep-alive", b"upgrade", b"te"];
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
                | HeaderId::XRequestId
                | HeaderId::Upgrade
                | HeaderId::Te
        );
        if !is_kept && !name.starts_with(b"x-ripstop-") && !name.is_empty() {
            headers.remove_name(&name);
        }
    }
}
