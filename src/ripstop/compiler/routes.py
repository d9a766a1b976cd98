"""HttpRules -> Routes, in order; one rule is up to three routes (preflight, idempotent methods, the rest)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ripstop.compiler import native
from ripstop.compiler.changes import (
    cors_policy,
    header_changes,
    host_of,
    mirror_policies,
    redirect_action,
    rewrite_path,
)
from ripstop.compiler.extension import uint32
from ripstop.compiler.http_manager import CORS, FAULT, SESSION
from ripstop.compiler.matching import method_in, method_is, present, route_match
from ripstop.compiler.native_routes import route_extras
from ripstop.compiler.policies.balancing import hash_policies
from ripstop.compiler.policies.fault import http_fault
from ripstop.compiler.policies.retry import IDEMPOTENT, IDEMPOTENT_REGEX, depends_on_method, retry_policy
from ripstop.compiler.policies.session import stateful_session
from ripstop.compiler.world import Uses, World, default_port, use_cluster
from ripstop.model.policy import EffectivePolicy, Timeouts
from ripstop.model.topology import Backend, Filters, HttpMatch, HttpRule, Service
from ripstop.model.workload import Protocol
from ripstop.xds import names, pb


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where rules hold: the port and scheme of a listener or service, and whose calls they route.

    `hostname` is the virtual host's when it is a single name. `authority` is what requests without a rewrite of their own
    carry on as Host; empty keeps theirs.
    """

    world: World
    uses: Uses
    port: int
    scheme: str = "http"
    hostname: str = ""
    service: Service | None = None
    authority: str = ""


def routes(place: Place, rules: Iterable[HttpRule]) -> list[pb.Message]:
    """The `VirtualHost.routes` of rules."""
    return [route for rule in rules for route in _rule(place, rule)]


def _rule(place: Place, rule: HttpRule) -> Iterator[pb.Message]:
    policy = _policy(place, rule)
    yield from _preflight(place, rule, policy)
    retry = rule.retry or policy.retry
    if rule.match.method or not depends_on_method(retry) or rule.filters.redirect or rule.is_grpc:
        is_idempotent = rule.match.method in IDEMPOTENT
        yield _route(place, rule, policy, route_match(rule.match), is_idempotent)
        return
    yield _route(place, rule, policy, route_match(rule.match, method_in(IDEMPOTENT_REGEX)), True)
    yield _route(place, rule, policy, route_match(rule.match), False)


def _policy(place: Place, rule: HttpRule) -> EffectivePolicy:
    """A rule's own policy, else that of the service called; at a gateway, of the first service behind the rule."""
    if rule.policy is not None:
        return rule.policy
    if place.service is not None:
        return place.service.policy
    found = (place.world.services.get(b.service) for b in rule.backends if b.service and not b.invalid)
    return next((service.policy for service in found if service), place.world.mesh.defaults)


def _preflight(place: Place, rule: HttpRule, policy: EffectivePolicy) -> Iterator[pb.Message]:
    """A rule for one method would never see the OPTIONS that asks about it, so CORS gives it a route of its own.

    It goes where the rule's goes, though the filter answers first: Envoy's does not look at direct responses.
    """
    cors, method = rule.filters.cors, rule.match.method
    if cors is None or method in ("", "OPTIONS"):
        return
    asked = pb.HeaderMatcher(name="access-control-request-method", string_match={"exact": method})
    match = route_match(replace(rule.match, method=""), method_is("OPTIONS"), present("origin"), asked)
    yield _route(place, rule, policy, match, True)


def _route(
    place: Place, rule: HttpRule, policy: EffectivePolicy, match: pb.Message, is_idempotent: bool
) -> pb.Message:
    made = pb.Route(name=rule.name, match=match)
    header_changes(made, rule.filters.request_headers, rule.filters.response_headers)
    _per_filter(made, rule, policy)
    _metadata(made, place, rule)
    if rule.filters.redirect is not None:
        action = redirect_action(
            rule.filters.redirect,
            rule.match,
            scheme=place.scheme,
            port=place.port,
            hostname=place.hostname,
        )
        made.redirect.CopyFrom(action)
    elif problem := _unusable(rule.backends):
        made.direct_response.status = 500
        made.direct_response.body.inline_string = f"ripstop: {rule.source}: {problem}\n"
    else:
        made.route.CopyFrom(_action(place, rule, policy, is_idempotent))
        retry = None if rule.is_grpc else rule.retry or policy.retry
        extras = route_extras(
            place.world, place.uses, made.route, rule.policy, retry, is_idempotent=is_idempotent
        )
        native.put(made, extras)
    return made


def _metadata(made: pb.Message, place: Place, rule: HttpRule) -> None:
    """Who is called and which document line says so; access logs and `explain` read it."""
    service = (
        place.service.id if place.service else next((b.service for b in rule.backends if b.service), None)
    )
    shown = {"source": str(rule.source), "service": str(service) if service else ""}
    made.metadata.filter_metadata["ripstop"].update(shown)


def _per_filter(made: pb.Message, rule: HttpRule, policy: EffectivePolicy) -> None:
    """`typed_per_filter_config`: CORS, faults, sessions."""
    session = rule.session or policy.session
    configs = {
        CORS: cors_policy(rule.filters.cors) if rule.filters.cors else None,
        FAULT: http_fault(policy.fault) if policy.fault else None,
        SESSION: stateful_session(session) if session else None,
    }
    for name, config in configs.items():
        if config is not None:
            made.typed_per_filter_config[name].CopyFrom(pb.pack(config))


def _unusable(backends: tuple[Backend, ...]) -> str:
    """Why no backend can answer; empty when one can."""
    if not backends:
        return "the rule has no backendRefs"
    if all(backend.weight == 0 for backend in backends):
        return "all weights are 0"
    weighted = [backend for backend in backends if backend.weight]
    if all(backend.invalid or backend.service is None for backend in weighted):
        return ", ".join(sorted({backend.invalid or "BackendNotFound" for backend in weighted}))
    return ""


def _action(place: Place, rule: HttpRule, policy: EffectivePolicy, is_idempotent: bool) -> pb.Message:
    """The `RouteAction`. A share for a backend that cannot be used names a cluster that is not there: 500."""
    timeouts = rule.timeouts or policy.timeouts
    action = pb.RouteAction(
        timeout=pb.duration(_request_timeout(place, rule, policy, timeouts)),
        idle_timeout=pb.duration(timeouts.idle_s),
        retry_policy=retry_policy(rule.retry or policy.retry, timeouts, is_idempotent=is_idempotent),
        hash_policy=hash_policies(policy.load_balancer.hash_keys),
        request_mirror_policies=mirror_policies(rule.filters.mirrors, lambda b: _cluster(place, b, None)),
        cluster_not_found_response_code=pb.RouteAction.INTERNAL_SERVER_ERROR,
    )
    if timeouts.max_stream_s:
        action.max_stream_duration.max_stream_duration.CopyFrom(pb.duration(timeouts.max_stream_s))
    if rule.filters.rewrite and rule.filters.rewrite.path:
        rewrite_path(action, rule.filters.rewrite.path, rule.match)
    _host(action, place, rule)
    _destination(action, place, rule)
    return action


def _request_timeout(place: Place, rule: HttpRule, policy: EffectivePolicy, timeouts: Timeouts) -> float:
    """Seconds for the whole call. A gRPC stream may last: the default holds for it only where a document says so."""
    port = place.service.port(place.port) if place.service else None
    is_grpc = rule.is_grpc or (port is not None and port.protocol is Protocol.GRPC)
    is_set = rule.timeouts is not None or any(name.startswith("timeouts") for name, _ in policy.sources)
    if is_grpc and not is_set:
        return 0.0
    only_one_try = timeouts.backend_request_s if not (rule.retry or policy.retry) else 0.0
    return min(timeouts.request_s or only_one_try, only_one_try or timeouts.request_s)


def _host(action: pb.Message, place: Place, rule: HttpRule) -> None:
    """The Host sent on: a rewrite's, a header modifier's, the place's own; else the one that came."""
    rewrite = rule.filters.rewrite.hostname if rule.filters.rewrite else ""
    host = rewrite or host_of(rule.filters.request_headers) or place.authority
    if host:
        action.host_rewrite_literal = host


def _destination(action: pb.Message, place: Place, rule: HttpRule) -> None:
    """`cluster` or `weighted_clusters`; what cannot be used is a name that `cluster_not_found_response_code` answers."""
    backends = [backend for backend in rule.backends if backend.weight]
    if len(backends) == 1 and backends[0].filters == Filters():
        action.cluster = _cluster(place, backends[0], rule.policy) or names.NO_BACKEND
        return
    for backend in backends:
        name = _cluster(place, backend, rule.policy) or names.NO_BACKEND
        weighted = action.weighted_clusters.clusters.add(name=name)
        weighted.weight.CopyFrom(uint32(backend.weight))
        header_changes(weighted, backend.filters.request_headers, backend.filters.response_headers)
        if backend.filters.rewrite and backend.filters.rewrite.hostname:
            weighted.host_rewrite_literal = backend.filters.rewrite.hostname


def _cluster(place: Place, backend: Backend, policy: EffectivePolicy | None) -> str:
    """The cluster of a backend, noted as used; empty when it cannot be used."""
    service = place.world.services.get(backend.service) if backend.service and not backend.invalid else None
    port = (service.port(backend.port) if backend.port else default_port(service)) if service else None
    if service is None or port is None:
        return ""
    return use_cluster(place.world, place.uses, service, port, policy)


def refusal(name: str, status: int, body: str) -> pb.Message:
    """A last route for everything that is left: `status`, and words that say why.

    Envoy turns it into a gRPC status for gRPC requests: 404 becomes UNIMPLEMENTED (12), the body its message.
    """
    made = pb.Route(name=name, match=route_match(HttpMatch()))
    made.direct_response.status = status
    made.direct_response.body.inline_string = body + "\n"
    return made
