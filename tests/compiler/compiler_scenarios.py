"""What goldens are made of: one small world and one node for each thing the compiler does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compiler_scenarios_gateways import GATEWAYS
from mesh_worlds import (
    HTTP,
    Ports,
    endpoints,
    external,
    gateway_node,
    mesh_routes,
    node,
    rule,
    service,
    sid,
    source,
    tcp_port,
    to,
    topology,
)

from ripstop.model.policy import (
    Action,
    Algorithm,
    Authorization,
    AuthorizationRule,
    EffectivePolicy,
    Fallback,
    FallbackTrigger,
    Fault,
    HashKey,
    HealthCheck,
    Limits,
    LoadBalancer,
    MeshSettings,
    OutlierDetection,
    RateLimit,
    Retry,
    RetryBudget,
    SessionAffinity,
    StringMatch,
    Timeouts,
)
from ripstop.model.topology import (
    Cors,
    EndpointsFrom,
    Filters,
    HeaderChange,
    HttpMatch,
    MeshRoutes,
    Mirror,
    PathChange,
    Redirect,
    Rewrite,
    ServicePort,
    TlsOrigination,
    Topology,
    ValueMatch,
)
from ripstop.model.workload import Health, Locality, Protocol, Registration, Upstream

World = tuple[Topology, Registration]
REVIEWS = endpoints("reviews", "127.0.0.1:21001", "127.0.0.1:21002")
RATINGS = endpoints("ratings", "127.0.0.1:22001")


@dataclass(frozen=True)
class Scenario:
    name: str
    make: Callable[[Ports], World]


def one_service(port: Ports) -> World:
    """Defaults only: what every sidecar has without any document."""
    made = topology([service("reviews")], {"reviews": REVIEWS}, mesh=MeshSettings())
    return made, node("reviews", port)


def canary(port: Ports) -> World:
    """A header sends testers to v2; all others are split 90 : 10, and v2's share carries a header."""
    tagged = Filters(request_headers=HeaderChange(set=(("x-canary", "100%"),)))
    testers = HttpMatch(headers=(ValueMatch(name="X-Tester", value="yes"),))
    v2 = to("reviews-v2")
    rules = (
        rule("HTTPRoute/default/reviews/0/0", v2, match=testers),
        rule(
            "HTTPRoute/default/reviews/1/0",
            to("reviews-v1", weight=90),
            to("reviews-v2", weight=10, filters=tagged),
        ),
    )
    services = [service(name) for name in ("reviews", "reviews-v1", "reviews-v2")]
    instances = {"reviews": REVIEWS, "reviews-v1": REVIEWS[:1], "reviews-v2": REVIEWS[1:]}
    return topology(services, instances, routes=[mesh_routes("reviews", *rules)]), node("productpage", port)


def filters(port: Ports) -> World:
    """Every filter and every kind of match."""
    headers = HeaderChange(set=(("x-a", "1"), ("Host", "other")), add=(("x-b", "2"),), remove=("x-c",))
    changed = Filters(
        request_headers=headers,
        response_headers=headers,
        rewrite=Rewrite(hostname="v2.example.com", path=PathChange(kind="ReplacePrefixMatch", value="/v2")),
        mirrors=(Mirror(backend=to("ratings"), numerator=1, denominator=3),),
        cors=Cors(allow_origins=("https://*.example.com", "*"), allow_methods=("GET", "PUT")),
    )
    moved = Redirect(scheme="https", path=PathChange(kind="ReplaceFullPath", value="/new"), status=301)
    to_root = Filters(rewrite=Rewrite(path=PathChange(kind="ReplacePrefixMatch", value="/")))
    query = HttpMatch(
        path_kind="regex", path="/r[0-9]+", query=(ValueMatch(name="q", value="a.*", kind="regex"),)
    )
    name = "HTTPRoute/default/reviews/"
    rules = (
        rule(name + "0", to("reviews"), match=HttpMatch(path="/v1", method="PUT"), filters=changed),
        rule(name + "1", match=HttpMatch(path_kind="exact", path="/old"), filters=Filters(redirect=moved)),
        rule(name + "2", to("reviews"), match=HttpMatch(path="/strip/"), filters=to_root),
        rule(name + "3", to("reviews"), match=query),
        rule(name + "4", to("gone", invalid="BackendNotFound"), match=HttpMatch(path="/gone")),
        rule(name + "5", to("reviews"), to("gone", invalid="RefNotPermitted"), match=HttpMatch(path="/half")),
    )
    made = topology(
        [service("reviews"), service("ratings")],
        {"reviews": REVIEWS, "ratings": RATINGS},
        routes=[mesh_routes("reviews", *rules)],
    )
    return made, node("productpage", port)


def resilience(port: Ports) -> World:
    """Retries, timeouts, faults, sessions at the caller; rate limits at the server."""
    policy = EffectivePolicy(
        retry=Retry(attempts=3, codes=(502, 503), grpc_codes=("unavailable",), retry_on_timeout=True),
        budget=RetryBudget(percent=10.0, min_concurrency=1),
        timeouts=Timeouts(request_s=2.0, backend_request_s=0.5, max_stream_s=60.0),
        limits=Limits(max_connections=10, max_requests=20, max_requests_per_connection=1000),
        fault=Fault(
            delay_s=0.1, delay_percent=5.0, abort_status=503, abort_percent=0.5, headers=(("x-t", "1"),)
        ),
        rate_limits=(RateLimit(requests=100, burst=200), RateLimit(requests=1, per_s=0.01, status=503)),
        session=SessionAffinity(is_permanent=True, absolute_timeout_s=3600),
        sources=(("timeouts.request", source("TrafficPolicy default/reviews", 9)),),
    )
    sessions = rule(
        "HTTPRoute/default/reviews/0/0",
        to("reviews"),
        match=HttpMatch(path="/sticky"),
        session=SessionAffinity(kind="Header", name="x-session"),
        timeouts=Timeouts(request_s=0.0),
        retry=Retry(attempts=1, all_methods=True, codes=(500,)),
        policy=EffectivePolicy(fault=Fault(abort_grpc_status=14, abort_percent=100.0)),
    )
    itself = rule("HTTPRoute/default/reviews/1/0", to("reviews"))
    made = topology(
        [service("reviews", policy=policy)],
        {"reviews": REVIEWS},
        routes=[mesh_routes("reviews", sessions, itself)],
    )
    return made, node("reviews", port)


def fallback(port: Ports) -> World:
    """A chain of two hops, one of them on another port; one trigger that Envoy has not."""
    chain = (
        Fallback(service=sid("reviews-dr"), port=8080),
        Fallback(
            service=sid("archive"),
            triggers=frozenset({FallbackTrigger.BREAKER_OPEN, FallbackTrigger.NO_HEALTHY}),
        ),
    )
    said = (("fallback", source("TrafficPolicy default/reviews", 7)),)
    services = [
        service("reviews", policy=EffectivePolicy(fallbacks=chain, sources=said)),
        service("reviews-dr", ServicePort(port=8080)),
        external("archive"),
    ]
    instances = {
        "reviews": REVIEWS,
        "reviews-dr": endpoints("reviews-dr", "127.0.0.1:23001"),
        "archive": endpoints("", "127.0.0.1:23002"),
    }
    return topology(services, instances), node("productpage", port)


def _policy(name: str, action: Action, *rules: AuthorizationRule, **fields: Action) -> Authorization:
    return Authorization(
        name=name,
        namespace="default",
        action=action,
        rules=rules,
        source=source(f"AuthorizationPolicy default/{name}"),
        **fields,
    )


def authorization(port: Ports) -> World:
    """Deny, allow and both kinds of audit, with every kind of condition; on an HTTP and on a TCP port."""
    productpage = StringMatch(kind="exact", value="spiffe://ripstop.local/ns/default/sa/productpage")
    admins = StringMatch(kind="prefix", value="/admin")
    callers = AuthorizationRule(
        principals=(productpage,),
        not_namespaces=(StringMatch(kind="prefix", value="test-"),),
        methods=("GET", "HEAD"),
        paths=(StringMatch(kind="prefix", value="/reviews"), StringMatch(kind="suffix", value=".json")),
        headers=(("x-team", StringMatch(kind="present")), ("Host", StringMatch(kind="regex", value="rev.*"))),
        ports=(80,),
    )
    by_namespace = AuthorizationRule(namespaces=(StringMatch(kind="exact", value="ops"),))
    everyone = AuthorizationRule(principals=(StringMatch(kind="present"),), not_paths=(admins,))
    policies = (
        _policy("callers", Action.ALLOW, callers, by_namespace),
        _policy("nothing", Action.ALLOW),
        _policy("no-admin", Action.DENY, AuthorizationRule(paths=(admins,))),
        _policy("soon", Action.AUDIT, AuthorizationRule(not_methods=("GET",)), audits=Action.DENY),
        _policy("open", Action.AUDIT, everyone, audits=Action.ALLOW),
    )
    ports = (HTTP, tcp_port(9000, target_port=9000))
    made = topology([service("reviews", *ports, authorizations=policies)], {"reviews": REVIEWS})
    return made, node("reviews", port)


def tcp(port: Ports) -> World:
    """A TCP service split by weight, reached by CONNECT and by a port of its own."""
    routes = MeshRoutes(service=sid("db"), tcp=(to("db", 5432, weight=3), to("db-new", 5432, weight=1)))
    services = [service("db", tcp_port(5432)), service("db-new", tcp_port(5432)), service("reviews")]
    instances = {
        "db": endpoints("db", "127.0.0.1:24001"),
        "db-new": endpoints("db-new", "127.0.0.1:24002"),
        "reviews": REVIEWS,
    }
    upstreams = (Upstream(service=sid("db"), port=5432, local_port=port(15432)),)
    return topology(services, instances, routes=[routes]), node("db", port, upstreams=upstreams)


def upstream_ports(port: Ports) -> World:
    """Local ports for a service, HTTP and gRPC; other ports of an application told apart by SNI."""
    ports = (HTTP, ServicePort(port=9090, protocol=Protocol.GRPC, target_port=9090))
    upstreams = (
        Upstream(service=sid("reviews"), port=80, local_port=port(15080)),
        Upstream(service=sid("reviews"), port=9090, local_port=port(15090)),
        Upstream(service=sid("nobody"), port=80, local_port=port(15099)),
    )
    made = topology([service("reviews", *ports)], {"reviews": REVIEWS})
    return made, node("reviews", port, upstreams=upstreams, outbound_port=0)


_CHECKS = (
    HealthCheck(path="/healthz", host="reviews", expected_codes=(200, 204)),
    HealthCheck(kind="grpc", grpc_service="reviews"),
    HealthCheck(kind="tcp"),
)
_HASHED = (
    HashKey(kind="header", name="x-user", terminal=True),
    HashKey(kind="cookie", name="u", ttl_s=60.0, path="/"),
    HashKey(kind="queryParameter", name="user"),
    HashKey(kind="sourceIp"),
)
_OUTLIER = OutlierDetection(
    consecutive_gateway_failures=3,
    consecutive_local_origin_failures=2,
    success_rate_stdev_factor=1.9,
    failure_percentage_threshold=85,
    max_ejection_s=1.0,
)


def balancers(port: Ports) -> World:
    """Every balancer, every active check, every detector; endpoints near and far, heavy and light, ill and leaving."""
    services = []
    for algorithm in Algorithm:
        hash_keys = _HASHED if algorithm in (Algorithm.RING_HASH, Algorithm.MAGLEV) else ()
        balancer = LoadBalancer(algorithm=algorithm, hash_keys=hash_keys, slow_start_s=10.0)
        said = (("loadBalancer.algorithm", source(f"TrafficPolicy default/{algorithm.value.lower()}")),)
        policy = EffectivePolicy(
            load_balancer=balancer, health_checks=_CHECKS, outlier=_OUTLIER, sources=said
        )
        if algorithm is Algorithm.RANDOM:
            policy = EffectivePolicy(load_balancer=balancer, outlier=None, retry=None)
        services.append(service(algorithm.value.lower(), policy=policy))
    near = endpoints("maglev", "127.0.0.1:25001", locality=Locality("eu", "a"), weight=3)
    far = endpoints("maglev", "127.0.0.1:25002", locality=Locality("us", "b"), health=Health.UNHEALTHY)
    gone = endpoints("maglev", "127.0.0.1:25003", locality=Locality("eu", "c"), health=Health.DRAINING)
    made = topology(services, {"maglev": (*near, *far, *gone), "random": REVIEWS})
    return made, node("caller", port, locality=Locality("eu", "a"))


def outside(port: Ports) -> World:
    """A service found by DNS, by TLS with the system's roots; one that goes by an egress gateway; a limit on calls."""
    tls = TlsOrigination(server_name="api.example.com")
    api = external(
        "api",
        ServicePort(port=443),
        tls=tls,
        hostnames=("api.example.com",),
        endpoints_from=EndpointsFrom.DNS,
    )
    by_gateway = external("billing", HTTP, tcp_port(5432), egress_gateway=sid("egress"))
    instances = {
        "api": endpoints("", "192.0.2.1:443", hostname="api.example.com"),
        "billing": endpoints("", "192.0.2.2:80"),
    }
    calls = frozenset({sid("api"), sid("billing")})
    caller = service("reviews", calls=calls)
    egress = gateway_node("egress", address="127.0.0.1", inbound_port=port(15008))
    made = topology([api, by_gateway, caller, service("hidden")], instances, nodes=[egress])
    return made, node("reviews", port)


SIDECARS = tuple(
    Scenario(make.__name__, make)
    for make in (
        one_service,
        canary,
        filters,
        resilience,
        fallback,
        authorization,
        tcp,
        upstream_ports,
        balancers,
        outside,
    )
)
SCENARIOS = (*SIDECARS, *(Scenario(make.__name__, make) for make in GATEWAYS))
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
