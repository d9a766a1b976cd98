//! Names in certificates: read with x509-parser, compared as Envoy's `DefaultCertValidator` compares them.
use ripstop_core::record::PeerCertificate;
use ripstop_core::snapshot::{SanKind, SanMatcher, StringMatch, StringMatcher};
use std::net::IpAddr;
use std::sync::Arc;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};

/// The names of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub uris: Vec<Arc<str>>,
    pub dns: Vec<String>,
    pub ips: Vec<IpAddr>,
    pub emails: Vec<String>,
    /// RFC 2253: the last part first.
    pub subject: String,
    pub common_name: Option<String>,
}

impl Names {
    /// The names of a certificate in DER; `None` when it cannot be read.
    pub fn of(der: &[u8]) -> Option<Names> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let common_name = certificate.subject().iter_common_name().next();
        let mut names = Names {
            subject: rfc2253(certificate.subject()),
            common_name: common_name.and_then(|name| name.as_str().ok()).map(str::to_owned),
            ..Names::default()
        };
        let extension = certificate.subject_alternative_name().ok()?;
        for name in extension.iter().flat_map(|found| &found.value.general_names) {
            match name {
                GeneralName::URI(uri) => names.uris.push(Arc::from(*uri)),
                GeneralName::DNSName(name) => names.dns.push((*name).to_owned()),
                GeneralName::RFC822Name(name) => names.emails.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => names.ips.extend(ip(bytes)),
                _ => {}
            }
        }
        Some(names)
    }

    /// What a record tells of a peer.
    pub fn into_peer(self, der: &[u8]) -> PeerCertificate {
        PeerCertificate {
            uris: self.uris,
            dns_names: self.dns,
            subject: self.subject,
            fingerprint: hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der).as_ref()),
        }
    }

    /// Whether a matcher holds for any name. A URI matcher wants the only URI SAN (SPIFFE X509-SVID, section 2).
    pub fn satisfies(&self, matcher: &SanMatcher) -> bool {
        let value = &matcher.value;
        match matcher.kind {
            SanKind::Uri => matches!(&self.uris[..], [uri] if value.matches(uri.as_bytes())),
            SanKind::Dns => self.dns.iter().any(|name| dns_matches(value, name)),
            SanKind::Ip => self.ips.iter().any(|ip| value.matches(ip.to_string().as_bytes())),
            SanKind::Email => self.emails.iter().any(|name| value.matches(name.as_bytes())),
        }
    }

    /// Whether the certificate is for this host.
    pub fn is_for_host(&self, host: &str) -> bool {
        match host.parse::<IpAddr>() {
            Ok(ip) => self.ips.contains(&ip),
            Err(_) => self.dns.iter().any(|pattern| dns_pattern_covers(pattern, host)),
        }
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// A DNS name of a certificate may have a wildcard, which an exact matcher's value is held against.
fn dns_matches(matcher: &StringMatcher, name: &str) -> bool {
    match &matcher.kind {
        StringMatch::Exact(wanted) => {
            std::str::from_utf8(wanted).is_ok_and(|wanted| dns_pattern_covers(name, wanted))
        }
        _ => matcher.matches(name.as_bytes()),
    }
}

/// RFC 6125 section 6.4.3: a wildcard stands for (a part of) the first label, and not in an IDN label.
pub(super) fn dns_pattern_covers(pattern: &str, host: &str) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let (Some((wild, pattern_rest)), Some((label, host_rest))) =
        (pattern.split_once('.'), host.split_once('.'))
    else {
        return false;
    };
    pattern_rest.contains('.') && pattern_rest.eq_ignore_ascii_case(host_rest) && label_covers(wild, label)
}

fn label_covers(pattern: &str, label: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return false };
    let is_idn = |text: &str| text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--"));
    if after.contains('*') || is_idn(pattern) || (is_idn(label) && pattern != "*") {
        return false;
    }
    let (label, before, after) = (label.as_bytes(), before.as_bytes(), after.as_bytes());
    label.len() > before.len() + after.len()
        && label[..before.len()].eq_ignore_ascii_case(before)
        && label[label.len() - after.len()..].eq_ignore_ascii_case(after)
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// A name as RFC 2253 writes it (OpenSSL: `XN_FLAG_RFC2253`): parts in reverse order, special characters escaped.
fn rfc2253(name: &X509Name<'_>) -> String {
    let parts: Vec<String> = name
        .iter_rdn()
        .map(|part| {
            let attributes = part.iter().map(|attribute| {
                let oid = attribute.attr_type().to_id_string();
                format!("{}={}", attribute_name(&oid), escaped(attribute.as_str().unwrap_or_default()))
            });
            attributes.collect::<Vec<_>>().join("+")
        })
        .collect();
    parts.into_iter().rev().collect::<Vec<_>>().join(",")
}

fn attribute_name(oid: &str) -> &str {
    match oid {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "SN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "street",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "title",
        "2.5.4.42" => "GN",
        "2.5.4.45" => "x500UniqueIdentifier",
        "1.2.840.113549.1.9.1" => "emailAddress",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        other => other,
    }
}

/// RFC 2253 section 2.4.
fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut text = String::with_capacity(value.len());
    for (index, c) in value.chars().enumerate() {
        let at_edge = (c == ' ' && (index == 0 || index == last)) || (c == '#' && index == 0);
        if at_edge || matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
