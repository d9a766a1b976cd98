//! From a listener to a route: the phases of `docs/internals/request.md`, with reasons.
use super::{AFTER, Candidate, Explained, Outcome, Question, RulesStep, World, filters, forward};
use crate::authorization;
use crate::http::{HeaderId, Method, RequestHead, Version};
use crate::route::{self, ChainInput, Matched, Missed, PathChange};
use crate::snapshot::*;
use std::sync::Arc;

/// What would become of a request.
pub fn explain(world: &World, question: &Question) -> Explained {
    let mut told = Explained::default();
    let Some(listener) = world.snapshot.listeners.get(&*question.listener) else {
        return ended(told, Outcome::NotFound, 0, "no_listener");
    };
    told.listener = Some(listener.name.to_string());
    let Some(chain) = chain_of(listener, question) else {
        return ended(told, Outcome::NotFound, 0, "filter_chain_not_found");
    };
    told.filter_chain = Some(chain.name.to_string());
    if let Some(why) = handshake_refusal(chain, question) {
        return ended(told, Outcome::Refused, 0, why);
    }
    for rbac in &chain.rbac {
        told.connection_rules.extend(filters::connection_rules(rbac, &question.connection));
        let verdict = authorization::check_network(rbac, &question.connection);
        if !verdict.allowed() {
            return ended(told, Outcome::Denied, 0, &verdict.details());
        }
    }
    match &chain.terminal {
        Terminal::Tcp(proxy) => {
            told.forward = Some(forward::tcp(world, proxy, &question.connection, question.random));
            Explained { outcome: Outcome::Tunnelled, ..told }
        }
        Terminal::Http(manager) => http(world, question, manager, told),
    }
}

pub(super) fn ended(told: Explained, outcome: Outcome, status: u16, details: &str) -> Explained {
    Explained { outcome, status, details: details.to_owned(), ..told }
}

fn chain_of<'a>(listener: &'a Listener, question: &Question) -> Option<&'a Arc<FilterChain>> {
    let info = &question.connection;
    let alpn: Vec<&[u8]> = question.alpn.iter().map(|protocol| protocol.as_bytes()).collect();
    let input = ChainInput {
        local: info.local,
        remote: info.remote,
        direct_remote: info.direct_remote,
        server_name: &info.server_name,
        is_tls: question.is_tls,
        alpn: &alpn,
    };
    route::choose_chain(listener, &input)
}

/// Why a handshake fails by what certificates say; whether they are to be trusted is not asked here.
fn handshake_refusal(chain: &FilterChain, question: &Question) -> Option<&'static str> {
    let wanted = chain.tls.as_ref()?;
    if !question.is_tls {
        return Some("tls_is_required");
    }
    let peer = question.connection.tls.as_ref().and_then(|tls| tls.peer.as_ref());
    let Some(peer) = peer else {
        return wanted.require_client_certificate.then_some("client_certificate_is_required");
    };
    let matchers = &wanted.common.validation.as_ref()?.san_matchers;
    let is_named = |matcher: &SanMatcher| match matcher.kind {
        SanKind::Uri => peer.uris.iter().any(|uri| matcher.value.matches(uri.as_bytes())),
        SanKind::Dns => peer.dns_names.iter().any(|name| matcher.value.matches(name.as_bytes())),
        SanKind::Ip | SanKind::Email => true,
    };
    (!matchers.is_empty() && !matchers.iter().any(is_named)).then_some("client_certificate_has_another_name")
}

fn http(world: &World, question: &Question, manager: &HttpManager, mut told: Explained) -> Explained {
    let mut head = question.request.clone();
    let is_connect = head.method() == Method::Connect;
    if head.authority().is_empty() {
        if head.version == Version::Http2 {
            return ended(told, Outcome::Refused, 400, "missing_host_header");
        }
        if head.version == Version::Http10 {
            head.set_authority(manager.http1.default_host_for_http_10.as_bytes());
        }
    }
    if !is_connect && !head.path().starts_with(b"/") {
        return ended(told, Outcome::Refused, 404, "absolute_path_rejected");
    }
    match route::normalize_path(&mut head, manager) {
        Ok(PathChange::Continue) => {}
        Ok(PathChange::Redirect) => {
            told.location = text(head.path());
            return ended(told, Outcome::Answered, 307, "path_normalization_failed");
        }
        Err(_) => return ended(told, Outcome::Refused, 400, "path_normalization_failed"),
    }
    route::set_scheme(&mut head, manager, question.connection.tls.is_some());
    told.path = text(head.path());
    routed(world, question, manager, &mut head, told)
}

fn routed(
    world: &World,
    question: &Question,
    manager: &HttpManager,
    head: &mut RequestHead,
    mut told: Explained,
) -> Explained {
    told.scope = route::scope_key(&manager.routes, head).map(text);
    let Some(config) = configuration(world, manager, told.scope.as_deref()) else {
        return ended(told, Outcome::NotFound, 404, "route_not_found");
    };
    told.route_configuration = Some(config.name.to_string());
    let found = route::find_route(config, head, question.random);
    told.candidates = candidates(&found, head, question.random);
    let host = match &found {
        Ok(matched) => Some(matched.virtual_host),
        Err(Missed::NoRoute(host) | Missed::NeedsTls(host)) => Some(*host),
        Err(Missed::NoVirtualHost) => None,
    };
    told.virtual_host = host.map(|host| host.name.to_string());
    match found {
        Ok(matched) => {
            told.route = Some(matched.index);
            if !is_upgrade_known(manager, head) {
                return ended(told, Outcome::Refused, 403, "upgrade_failed");
            }
            acted(world, question, manager, &matched, head, told)
        }
        Err(Missed::NeedsTls(_)) => {
            told.location = text(&route::to_tls(head));
            ended(told, Outcome::Answered, 301, "tls_redirect")
        }
        Err(_) => ended(told, Outcome::NotFound, 404, "route_not_found"),
    }
}

fn configuration<'a>(
    world: &'a World,
    manager: &'a HttpManager,
    scope: Option<&str>,
) -> Option<&'a Arc<RouteConfig>> {
    match &manager.routes {
        RouteSource::Inline(config) => Some(config),
        RouteSource::Rds(name) => world.snapshot.routes.get(name),
        RouteSource::Scoped { .. } => {
            let name = world.snapshot.scopes.get(scope?)?;
            world.snapshot.routes.get(name)
        }
    }
}

fn is_upgrade_known(manager: &HttpManager, head: &RequestHead) -> bool {
    let wanted = match head.method() {
        Method::Connect => &b"CONNECT"[..],
        _ => head.headers.get(HeaderId::Upgrade).unwrap_or_default(),
    };
    wanted.is_empty() || manager.upgrades.iter().any(|kind| kind.as_bytes().eq_ignore_ascii_case(wanted))
}

fn candidates(found: &Result<Matched<'_>, Missed<'_>>, head: &RequestHead, random: u64) -> Vec<Candidate> {
    let (host, count) = match found {
        Ok(matched) => (matched.virtual_host, matched.index + 1 + AFTER),
        Err(Missed::NoRoute(host)) => (*host, usize::MAX),
        Err(Missed::NoVirtualHost | Missed::NeedsTls(_)) => return Vec::new(),
    };
    let told = |(index, route): (usize, &Arc<Route>)| Candidate {
        index,
        name: route.name.to_string(),
        target: target(&route.action),
        metadata: route.metadata.clone(),
        miss: route::first_miss(&route.matches, head, random),
    };
    host.routes.iter().enumerate().take(count).map(told).collect()
}

/// Where a route leads, in a few words.
fn target(action: &RouteAction) -> String {
    match action {
        RouteAction::Direct(direct) => direct.status.to_string(),
        RouteAction::Redirect(redirect) => redirect.status.to_string(),
        RouteAction::Forward(forward) => match &forward.destination {
            Destination::Cluster(name) => name.to_string(),
            Destination::Header(name) => format!("the cluster that {} names", text(name)),
            Destination::Weighted(clusters, _) => {
                let shares = clusters.iter().map(|cluster| format!("{} ({})", cluster.name, cluster.weight));
                shares.collect::<Vec<_>>().join(", ")
            }
        },
    }
}

/// The filters, then what the route says.
fn acted(
    world: &World,
    question: &Question,
    manager: &HttpManager,
    matched: &Matched<'_>,
    head: &mut RequestHead,
    mut told: Explained,
) -> Explained {
    if let Some(ended) = filters::run(question, manager, matched, head, &mut told.filters) {
        let filters::Ended { outcome, status, details } = ended;
        return Explained { outcome, status, details, ..told };
    }
    match &matched.route.action {
        RouteAction::Direct(direct) => {
            let is_redirect = direct.status == 201 || (300..400).contains(&direct.status);
            told.location =
                if is_redirect { text(&route::location(head, head.scheme())) } else { String::new() };
            ended(told, Outcome::Answered, direct.status, "direct_response")
        }
        RouteAction::Redirect(redirect) => {
            let scheme = head.headers.get(HeaderId::XForwardedProto).unwrap_or(b"http");
            let (status, location) = route::redirect(redirect, matched.route, head, scheme);
            told.location = text(&location);
            ended(told, Outcome::Answered, status, "direct_response")
        }
        RouteAction::Forward(action) => {
            if let Some((status, details)) = refused_upgrade(action, head) {
                return ended(told, Outcome::Refused, status, details);
            }
            let step = forward::http(world, question, manager, matched, action, head);
            let is_lost = !step.is_known;
            told.forward = Some(step);
            match is_lost {
                true => ended(told, Outcome::NotFound, action.not_found_status, "cluster_not_found"),
                false => Explained { outcome: Outcome::Forwarded, ..told },
            }
        }
    }
}

fn refused_upgrade(action: &Forward, head: &RequestHead) -> Option<(u16, &'static str)> {
    let is_connect = head.method() == Method::Connect;
    let wanted = match is_connect {
        true => b"connect".to_vec(),
        false => head.headers.get(HeaderId::Upgrade).unwrap_or_default().to_ascii_lowercase(),
    };
    if action.upgrades.iter().any(|(kind, enabled)| kind.as_bytes() == wanted && !enabled) {
        return Some((403, "upgrade_failed"));
    }
    (is_connect && !action.terminates_connect).then_some((404, "connect_not_configured"))
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Rules of network filters and HTTP filters are told alike.
pub(super) fn rules_of(
    enforced: Option<&Arc<Rbac>>,
    shadow: Option<&Arc<Rbac>>,
    reason: impl Fn(&Rbac) -> authorization::Reasoned,
) -> Vec<RulesStep> {
    let told = |rules: &Arc<Rbac>, is_shadow| RulesStep::of(rules.action, is_shadow, reason(rules));
    shadow
        .map(|rules| told(rules, true))
        .into_iter()
        .chain(enforced.map(|rules| told(rules, false)))
        .collect()
}
