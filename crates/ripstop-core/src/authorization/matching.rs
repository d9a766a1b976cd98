//! Permissions and principals (`config.rbac.v3`).
use crate::http::{Headers, RequestHead};
use crate::record::ConnectionInfo;
use crate::route::path_for_matching;
use crate::snapshot::{HeaderMatcher, Permission, Principal, RbacPolicy, StringMatcher};
use ipnet::IpNet;
use std::net::IpAddr;

/// Whom and what rules are asked about.
pub(super) struct Subject<'a> {
    pub(super) connection: &'a ConnectionInfo,
    pub(super) remote: IpAddr,
    pub(super) head: Option<&'a RequestHead>,
}

static NO_FIELDS: Headers = Headers::new();

impl<'a> Subject<'a> {
    /// A request on a connection.
    pub(super) fn request(connection: &'a ConnectionInfo, remote: IpAddr, head: &'a RequestHead) -> Self {
        Subject { connection, remote, head: Some(head) }
    }

    /// A connection.
    pub(super) fn connection(connection: &'a ConnectionInfo) -> Self {
        Subject { connection, remote: connection.remote.ip(), head: None }
    }

    /// Whether any permission and any principal of a policy matches.
    pub(super) fn fits(&self, policy: &RbacPolicy) -> bool {
        policy.permissions.iter().any(|permission| self.may(permission))
            && policy.principals.iter().any(|principal| self.is(principal))
    }

    /// Whether a permission matches.
    pub(super) fn may(&self, permission: &Permission) -> bool {
        let local = self.connection.local;
        match permission {
            Permission::And(all) => all.iter().all(|permission| self.may(permission)),
            Permission::Or(any) => any.iter().any(|permission| self.may(permission)),
            Permission::Not(other) => !self.may(other),
            Permission::Any => true,
            Permission::Header(wanted) => self.has_header(wanted),
            Permission::UrlPath(wanted) => self.has_path(wanted),
            Permission::DestinationIp(net) => is_in(net, local.ip()),
            Permission::DestinationPort(port) => local.port() == *port,
            Permission::DestinationPortRange(start, end) => (*start..*end).contains(&local.port()),
            Permission::RequestedServerName(wanted) => wanted.matches(self.connection.server_name.as_bytes()),
        }
    }

    /// Whether a principal matches.
    pub(super) fn is(&self, principal: &Principal) -> bool {
        match principal {
            Principal::And(all) => all.iter().all(|principal| self.is(principal)),
            Principal::Or(any) => any.iter().any(|principal| self.is(principal)),
            Principal::Not(other) => !self.is(other),
            Principal::Any => true,
            Principal::Authenticated(wanted) => self.is_authenticated(wanted.as_ref()),
            Principal::SourceIp(net) => is_in(net, self.connection.remote.ip()),
            Principal::DirectRemoteIp(net) => is_in(net, self.connection.direct_remote.ip()),
            Principal::RemoteIp(net) => is_in(net, self.remote),
            Principal::Header(wanted) => self.has_header(wanted),
            Principal::UrlPath(wanted) => self.has_path(wanted),
        }
    }

    fn has_header(&self, wanted: &HeaderMatcher) -> bool {
        match self.head {
            Some(head) => wanted.matches(head),
            None => wanted.matches_fields(&NO_FIELDS),
        }
    }

    fn has_path(&self, wanted: &StringMatcher) -> bool {
        let path = self.head.map_or(&b""[..], |head| head.path());
        !path.is_empty() && wanted.matches(path_for_matching(path))
    }

    /// The peer's first URI SAN, else DNS SAN, else subject; None without a certificate.
    pub(super) fn peer_name(&self) -> Option<String> {
        let peer = self.connection.tls.as_ref()?.peer.as_ref()?;
        let first = peer.uris.first().map(|uri| uri.to_string());
        Some(first.or_else(|| peer.dns_names.first().cloned()).unwrap_or_else(|| peer.subject.clone()))
    }

    /// Any URI SAN, any DNS SAN, or the subject. A peer without a certificate is nobody (stricter than Envoy, which takes
    /// TLS alone for enough).
    fn is_authenticated(&self, wanted: Option<&StringMatcher>) -> bool {
        let tls = self.connection.tls.as_ref();
        let Some(peer) = tls.and_then(|tls| tls.peer.as_ref()) else { return false };
        wanted.is_none_or(|wanted| {
            peer.uris.iter().any(|uri| wanted.matches(uri.as_bytes()))
                || peer.dns_names.iter().any(|name| wanted.matches(name.as_bytes()))
                || wanted.matches(peer.subject.as_bytes())
        })
    }
}

/// IPv4 addresses that came by an IPv6 socket are IPv4 addresses.
fn is_in(net: &IpNet, address: IpAddr) -> bool {
    net.contains(&address.to_canonical())
}
