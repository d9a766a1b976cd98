//! Host names to virtual hosts.
use crate::snapshot::{Domains, RouteConfig, VirtualHost};
use smallvec::SmallVec;
use std::sync::Arc;

/// The virtual host for an authority: an exact domain, the longest `*.suffix`, the longest `prefix.*`, then `*`.
///
/// A port is part of the name unless `ignore_port_in_host_matching` says otherwise. Case does not count.
pub fn virtual_host<'a>(config: &'a RouteConfig, authority: &[u8]) -> Option<&'a Arc<VirtualHost>> {
    let index = domain_of(&config.domains, authority, config.ignores_port)?;
    config.virtual_hosts.get(index as usize)
}

fn domain_of(domains: &Domains, authority: &[u8], ignores_port: bool) -> Option<u32> {
    if domains.exact.is_empty() && domains.suffixes.is_empty() && domains.prefixes.is_empty() {
        return domains.any;
    }
    let host = if ignores_port { without_port(authority) } else { authority };
    if !host.iter().any(u8::is_ascii_uppercase) {
        return find(domains, host);
    }
    let mut lower: SmallVec<[u8; 256]> = SmallVec::from_slice(host);
    lower.make_ascii_lowercase();
    find(domains, &lower)
}

/// A wildcard stands for at least one octet.
fn find(domains: &Domains, host: &[u8]) -> Option<u32> {
    if let Some(index) = domains.exact.get(host) {
        return Some(*index);
    }
    let is_longer = |part: &[u8]| host.len() > part.len();
    let by_suffix = domains.suffixes.iter().find(|(end, _)| is_longer(end) && host.ends_with(end));
    let by_prefix = || domains.prefixes.iter().find(|(start, _)| is_longer(start) && host.starts_with(start));
    by_suffix.or_else(by_prefix).map(|(_, index)| *index).or(domains.any)
}

/// An authority without its port; brackets of an IPv6 address are kept (RFC 3986, section 3.2.2).
pub fn without_port(authority: &[u8]) -> &[u8] {
    match memchr::memrchr(b':', authority) {
        Some(at) if memchr::memchr(b']', &authority[at..]).is_none() => &authority[..at],
        _ => authority,
    }
}
