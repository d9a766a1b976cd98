//! From a request's head to its first attempt: what the connection manager does, the route, the filters.
use super::Worker;
use super::exchange::{Exchange, Kind, Matched};
use super::slots::Key;
use ripstop_core::http::{HeaderId, Method, Version};
use ripstop_core::http1;
use ripstop_core::outcome::Flags;
use ripstop_core::route;
use ripstop_core::snapshot::{
    Destination, Forward, ForwardClientCert, HeaderChanges, HttpManager, RouteAction, RouteConfig,
    RouteSource,
};
use ripstop_core::time::Time;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

impl Worker {
    /// A head is complete. Errors answer at once; else an attempt begins, or a fault delays it.
    pub(crate) fn start_request(&mut self, key: Key, ex: &mut Exchange, expects_continue: bool) {
        let Some(chain) = ex.chain.clone() else { return self.finish(key, ex) };
        let Some(manager) = chain.manager.clone() else { return self.finish(key, ex) };
        self.stats.request_began(chain.stats);
        ex.counted = true;
        ex.is_head = ex.request.method() == Method::Head;
        ex.is_grpc = ex.request.is_grpc();
        ex.idle = manager.stream_idle_timeout;
        if !manager.request_timeout.is_zero() && !ex.request_ended {
            ex.timeout_at = self.now.after(manager.request_timeout);
        }
        if !manager.max_stream_duration.is_zero() {
            ex.max_duration_at = self.now.after(manager.max_stream_duration);
        }
        if ex.request_ended {
            ex.request_end_at = self.now;
        }
        super::fault::injected(ex, "request");
        if self.overload.is_shedding() {
            return self.refuse_overloaded(key, ex);
        }
        if ex.request.version == Version::Http10 && ex.request.authority().is_empty() {
            ex.request.set_authority(manager.http1.default_host_for_http_10.as_bytes());
        }
        if self.refuse_version(key, ex, &manager) {
            return;
        }
        self.normalise_upgrade(ex);
        if !ex.request.path().starts_with(b"/") && ex.kind != Kind::Connect {
            return self.local_reply(key, ex, 404, "", "absolute_path_rejected"); // `OPTIONS *`
        }
        if expects_continue && !manager.proxy_100_continue {
            self.send_continue(ex);
        }
        match route::normalize_path(&mut ex.request, &manager) {
            Ok(route::PathChange::Continue) => {}
            Ok(route::PathChange::Redirect) => {
                let location = ex.request.path().to_vec();
                return self.local_reply_with(key, ex, 307, "", "path_normalization_failed", |head| {
                    head.headers.set(HeaderId::Location, &location);
                });
            }
            Err(_) => return self.local_reply(key, ex, 400, "", "path_normalization_failed"),
        }
        self.manager_headers(ex, &manager);
        self.find_route(key, ex, &manager);
    }

    fn refuse_version(&mut self, key: Key, ex: &mut Exchange, manager: &HttpManager) -> bool {
        if ex.request.version == Version::Http10 && !manager.http1.accept_http_10 {
            // Envoy's answer to a version that it does not speak.
            ex.flags.set(Flags::DOWNSTREAM_PROTOCOL_ERROR);
            self.local_reply(key, ex, 426, "Upgrade Required", "low_version");
            return true;
        }
        if ex.request.authority().is_empty() && ex.request.version == Version::Http2 {
            self.local_reply(key, ex, 400, "", "missing_host_header");
            return true;
        }
        false
    }

    /// Extended CONNECT (RFC 8441) becomes what HTTP/1 says: GET with Upgrade. Hop-by-hop fields end here.
    fn normalise_upgrade(&mut self, ex: &mut Exchange) {
        if ex.request.method() == Method::Connect && !ex.request.protocol().is_empty() {
            let protocol = ex.request.protocol().to_vec();
            ex.request.set_method(b"GET");
            ex.request.set_protocol(b"");
            ex.request.headers.set(HeaderId::Upgrade, &protocol);
            ex.upgrade = true;
        }
        if ex.request.version != Version::Http2 || ex.upgrade {
            http1::strip_hop_by_hop_request(&mut ex.request, ex.upgrade);
        }
        if ex.upgrade {
            ex.kind = Kind::Upgrade;
            // What follows is the tunnel's, and has no length.
            ex.request_body = ripstop_core::http::BodyLength::Empty;
            ex.request_ended = false;
        } else if ex.request.method() == Method::Connect {
            ex.kind = Kind::Connect;
        }
    }

    fn upgrade_is_known(&self, ex: &Exchange, manager: &HttpManager) -> bool {
        match ex.kind {
            Kind::Upgrade => {
                let wanted = ex.request.headers.get(HeaderId::Upgrade).unwrap_or_default();
                manager.upgrades.iter().any(|kind| kind.as_bytes().eq_ignore_ascii_case(wanted))
            }
            Kind::Connect => manager.upgrades.iter().any(|kind| kind.eq_ignore_ascii_case("CONNECT")),
            _ => true,
        }
    }

    /// Forwarded addresses, request id, client certificate (Envoy: "HTTP header manipulation").
    fn manager_headers(&mut self, ex: &mut Exchange, manager: &HttpManager) {
        let Some(info) = ex.info.clone() else { return };
        if manager.use_remote_address && !manager.skip_xff_append {
            append_forwarded_for(&mut ex.request, info.remote);
        }
        route::set_scheme(&mut ex.request, manager, info.tls.is_some());
        let keeps_id = !manager.use_remote_address || manager.preserve_external_request_id;
        let has_id = ex.request.headers.has(HeaderId::XRequestId);
        if manager.generate_request_id && !(has_id && keeps_id) {
            let id = self.uuid();
            ex.request.headers.set(HeaderId::XRequestId, &id);
        }
        client_certificate(ex, manager, &info);
        if !manager.via.is_empty() {
            ex.request.headers.push_known(HeaderId::Via, manager.via.as_bytes());
        }
    }

    /// A random UUID (RFC 9562, version 4).
    fn uuid(&mut self) -> [u8; 36] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let bits = u128::from(self.rng.next_u64()) << 64 | u128::from(self.rng.next_u64());
        let bits = bits & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
        let mut text = [b'-'; 36];
        let mut shift = 128;
        for (at, place) in text.iter_mut().enumerate() {
            if !matches!(at, 8 | 13 | 18 | 23) {
                shift -= 4;
                *place = HEX[(bits >> shift & 15) as usize];
            }
        }
        text
    }

    fn route_config(&self, ex: &Exchange, manager: &HttpManager) -> Option<Arc<RouteConfig>> {
        match &manager.routes {
            RouteSource::Inline(config) => Some(config.clone()),
            RouteSource::Rds(name) => self.snapshot.routes.get(name).cloned(),
            RouteSource::Scoped { .. } => {
                let key = route::scope_key(&manager.routes, &ex.request)?;
                let name = self.snapshot.scopes.get(std::str::from_utf8(key).ok()?)?;
                self.snapshot.routes.get(name).cloned()
            }
        }
    }

    fn find_route(&mut self, key: Key, ex: &mut Exchange, manager: &HttpManager) {
        let Some(config) = self.route_config(ex, manager) else {
            ex.flags.set(Flags::NO_ROUTE_FOUND);
            return self.local_reply(key, ex, 404, "", "route_not_found");
        };
        let (virtual_host, route) = match route::find_route(&config, &ex.request, ex.random) {
            Ok(matched) => (matched.virtual_host.clone(), matched.route.clone()),
            Err(route::Missed::NeedsTls(_)) => {
                let location = route::to_tls(&ex.request);
                return self.local_reply_with(key, ex, 301, "", "tls_redirect", |head| {
                    head.headers.set(HeaderId::Location, &location);
                });
            }
            Err(_) => {
                ex.flags.set(Flags::NO_ROUTE_FOUND);
                return self.local_reply(key, ex, 404, "", "route_not_found");
            }
        };
        let mut matched = Matched { config, virtual_host, route, weighted: None };
        matched.weighted = weighted_index(&matched, &ex.request, ex.random);
        ex.matched = Some(matched);
        if !self.upgrade_is_known(ex, manager) {
            return self.local_reply(key, ex, 403, "", "upgrade_failed");
        }
        self.run_filters(key, ex, 0);
    }

    /// All filters have let it pass: do what the route says.
    pub(crate) fn take_action(&mut self, key: Key, ex: &mut Exchange) {
        let Some(matched) = ex.matched.clone() else { return self.finish(key, ex) };
        match &matched.route.action {
            RouteAction::Direct(direct) => {
                let body = String::from_utf8_lossy(&direct.body).into_owned();
                self.local_reply(key, ex, direct.status, &body, "direct_response");
            }
            RouteAction::Redirect(redirect) => {
                let scheme = ex.request.headers.get(HeaderId::XForwardedProto).unwrap_or(b"http").to_vec();
                let (status, location) = route::redirect(redirect, &matched.route, &ex.request, &scheme);
                self.local_reply_with(key, ex, status, "", "direct_response", |head| {
                    head.headers.set(HeaderId::Location, &location);
                });
            }
            RouteAction::Forward(forward) => self.forward(key, ex, &matched, forward),
        }
    }

    fn forward(&mut self, key: Key, ex: &mut Exchange, matched: &Matched, forward: &Forward) {
        if ex.kind == Kind::Upgrade || ex.kind == Kind::Connect {
            let wanted = if ex.kind == Kind::Connect {
                b"connect".to_vec()
            } else {
                ex.request.headers.get(HeaderId::Upgrade).unwrap_or_default().to_ascii_lowercase()
            };
            if forward.upgrades.iter().any(|(kind, enabled)| kind.as_bytes() == wanted && !enabled) {
                return self.local_reply(key, ex, 403, "", "upgrade_failed");
            }
            if ex.kind == Kind::Connect && !forward.terminates_connect {
                return self.local_reply(key, ex, 404, "", "connect_not_configured");
            }
        }
        self.timeouts(ex, forward);
        ex.retry = forward.retry.clone().or_else(|| matched.virtual_host.retry.clone());
        if let Some(info) = &ex.info
            && !forward.hash.is_empty()
        {
            let hashed = route::hash_request(&forward.hash, &ex.request, info.remote.ip(), info);
            ex.hash = hashed.hash;
            ex.set_cookies = hashed.cookies;
        }
        let original_method_is_tunnel = ex.kind == Kind::Connect;
        if !original_method_is_tunnel {
            let mut request = std::mem::take(&mut ex.request);
            let suppress =
                ex.chain.as_ref().and_then(|c| c.manager.as_ref()).is_none_or(|m| m.suppress_envoy_headers);
            if changes_request(matched) {
                let copy = request.clone();
                let mut record = self.record(ex);
                record.request = Some(&copy);
                let mut scratch = Vec::new();
                route::apply_request(
                    &mut request,
                    &matched.view(),
                    matched.weighted(),
                    &record,
                    &mut scratch,
                );
            }
            route::rewrite_path(forward, &matched.route, &mut request, !suppress);
            route::rewrite_host(forward, matched.weighted(), &mut request, !suppress);
            ex.request = request;
        }
        self.mirror(ex, forward);
        // A CONNECT's or upgrade's body are a tunnel's bytes: never sent twice.
        ex.is_replayable =
            ex.kind == Kind::Http && (ex.retry.is_some() || !forward.extras.fallbacks.is_empty());
        if ex.kind != Kind::Http {
            ex.is_replayable = ex.body.is_empty();
        }
        self.attempt(key, ex);
    }

    /// The limits of a route: the whole request, idle, the longest stream, gRPC's own.
    fn timeouts(&mut self, ex: &mut Exchange, forward: &Forward) {
        // A route's timeout counts from the end of the request; until then the manager's `request_timeout` does.
        if ex.request_ended {
            let has_one = !forward.timeout.is_zero() && ex.kind == Kind::Http;
            ex.timeout_at = if has_one { self.now.after(forward.timeout) } else { Time::NEVER };
        }
        if let Some(idle) = forward.idle_timeout {
            ex.idle = idle;
        }
        if let Some(most) = forward.max_stream_duration {
            ex.max_duration_at = if most.is_zero() { Time::NEVER } else { self.now.after(most) };
        }
        if let (Some(most), true) = (forward.grpc_timeout_max, ex.is_grpc)
            && let Some(asked) = ex.request.headers.get(HeaderId::GrpcTimeout).and_then(grpc_timeout)
        {
            let asked = asked.saturating_sub(forward.grpc_timeout_offset);
            let limit = if most.is_zero() { asked } else { asked.min(most) };
            ex.max_duration_at = self.now.after(limit);
        }
    }

    /// The request's last byte came: the route's timeout begins (Envoy: `RouteAction.timeout`).
    pub(crate) fn request_complete(&mut self, ex: &mut Exchange) {
        ex.request_ended = true;
        ex.request_end_at = self.now;
        let timeout = ex.matched.as_ref().and_then(|m| m.forward()).map_or(Duration::ZERO, |f| f.timeout);
        if !timeout.is_zero() && ex.kind == Kind::Http && !ex.response_started {
            ex.timeout_at = self.now.after(timeout);
        } else if ex.matched.is_some() {
            ex.timeout_at = Time::NEVER;
        }
    }

    pub(crate) fn record<'a>(&'a self, ex: &'a Exchange) -> ripstop_core::record::Record<'a> {
        self.make_record(ex)
    }
}

/// Which of a route's weighted clusters a request goes to.
fn weighted_index(
    matched: &Matched,
    request: &ripstop_core::http::RequestHead,
    random: u64,
) -> Option<usize> {
    let forward = matched.forward()?;
    let Destination::Weighted(clusters, _) = &forward.destination else { return None };
    let chosen = route::choose_cluster(forward, request, random).weighted?;
    clusters.iter().position(|cluster| std::ptr::eq(cluster, chosen))
}

fn is_changed(changes: &HeaderChanges) -> bool {
    !changes.add.is_empty() || !changes.remove.is_empty()
}

fn changes_request(matched: &Matched) -> bool {
    is_changed(&matched.route.request_headers)
        || is_changed(&matched.virtual_host.request_headers)
        || is_changed(&matched.config.request_headers)
        || matched.weighted().is_some_and(|cluster| is_changed(&cluster.request_headers))
}

/// Whether a route says anything about headers of answers.
pub(crate) fn changes_response(matched: &Matched) -> bool {
    is_changed(&matched.route.response_headers)
        || is_changed(&matched.virtual_host.response_headers)
        || is_changed(&matched.config.response_headers)
        || matched.weighted().is_some_and(|cluster| is_changed(&cluster.response_headers))
}

fn append_forwarded_for(request: &mut ripstop_core::http::RequestHead, remote: std::net::SocketAddr) {
    let mut value = [0u8; 256];
    let mut rest = &mut value[..];
    let before = request.headers.get(HeaderId::XForwardedFor).map(<[u8]>::to_vec);
    if let Some(before) = before.filter(|text| !text.is_empty() && text.len() < 190) {
        let _ = rest.write_all(&before);
        let _ = rest.write_all(b",");
    }
    let _ = write!(rest, "{}", remote.ip());
    let left = rest.len();
    let used = value.len() - left;
    request.headers.set(HeaderId::XForwardedFor, &value[..used]);
}

/// `x-forwarded-client-cert` as `forward_client_cert_details` says.
fn client_certificate(ex: &mut Exchange, manager: &HttpManager, info: &ripstop_core::record::ConnectionInfo) {
    let peer = info.tls.as_ref().and_then(|tls| tls.peer.as_ref().map(|peer| (tls, peer)));
    let keeps = match manager.forward_client_cert {
        ForwardClientCert::AlwaysForwardOnly => true,
        ForwardClientCert::ForwardOnly | ForwardClientCert::AppendForward => peer.is_some(),
        ForwardClientCert::Sanitize | ForwardClientCert::SanitizeSet => false,
    };
    let headers = &mut ex.request.headers;
    if !keeps {
        headers.remove(HeaderId::XForwardedClientCert);
    }
    let sets = matches!(
        manager.forward_client_cert,
        ForwardClientCert::AppendForward | ForwardClientCert::SanitizeSet
    );
    let Some((tls, peer)) = peer.filter(|_| sets) else { return };
    let mut value = headers.get(HeaderId::XForwardedClientCert).map(<[u8]>::to_vec).unwrap_or_default();
    if !value.is_empty() {
        value.push(b',');
    }
    if !tls.local_uri.is_empty() {
        value.extend_from_slice(format!("By={};", tls.local_uri).as_bytes());
    }
    value.extend_from_slice(format!("Hash={}", peer.fingerprint).as_bytes());
    let details = manager.client_cert_details;
    if details.subject {
        value.extend_from_slice(format!(";Subject=\"{}\"", peer.subject.replace('"', "\\\"")).as_bytes());
    }
    if details.uri {
        for uri in &peer.uris {
            value.extend_from_slice(format!(";URI={uri}").as_bytes());
        }
    }
    if details.dns {
        for name in &peer.dns_names {
            value.extend_from_slice(format!(";DNS={name}").as_bytes());
        }
    }
    headers.set(HeaderId::XForwardedClientCert, &value);
}

/// `grpc-timeout`: up to eight digits and a unit (gRPC over HTTP/2, "Requests").
fn grpc_timeout(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let count: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}
