"""Worlds of gateways, of gateways on the way out, and of gRPC clients without a sidecar."""

from __future__ import annotations

from functools import cache

from envoy_peer import self_signed
from mesh_worlds import (
    HTTP,
    Ports,
    endpoints,
    external,
    gateway_node,
    mesh_routes,
    rule,
    service,
    sid,
    source,
    tcp_port,
    to,
    topology,
)

from ripstop.ids import NodeId
from ripstop.model.policy import (
    Action,
    Algorithm,
    Authorization,
    AuthorizationRule,
    EffectivePolicy,
    Fault,
    HealthCheck,
    LoadBalancer,
    StringMatch,
)
from ripstop.model.topology import (
    Certificate,
    EndpointsFrom,
    Filters,
    Gateway,
    GatewayListener,
    HttpMatch,
    HttpRule,
    Redirect,
    ServicePort,
    SniRoute,
    TlsOrigination,
    Topology,
    ValueMatch,
    VirtualHost,
)
from ripstop.model.workload import NodeKind, Protocol, Registration

World = tuple[Topology, Registration]
REVIEWS = endpoints("reviews", "127.0.0.1:21001")
RATINGS = endpoints("ratings", "127.0.0.1:22001")
GOLDEN_PORT = 15001


@cache
def _certificate(name: str, is_golden: bool) -> Certificate:
    """A real one for a real Envoy; in goldens a placeholder, for a certificate is another every time."""
    made = (f"certificate of {name}", f"key of {name}") if is_golden else self_signed(dns=name)
    return Certificate(name=f"default/{name}", certificate_pem=made[0], key_pem=made[1])


def certificate(name: str, port: Ports) -> Certificate:
    return _certificate(name, port(GOLDEN_PORT) == GOLDEN_PORT)


def host(hostname: str, *rules: HttpRule) -> VirtualHost:
    return VirtualHost(hostname=hostname, rules=rules)


def to_reviews(name: str, path: str = "/") -> HttpRule:
    return rule(f"HTTPRoute/default/{name}/0/0", to("reviews"), match=HttpMatch(path=path))


def sni(name: str, *hostnames: str, backend: str = "db", port: int = 5432) -> SniRoute:
    backends = (to(backend, port),)
    return SniRoute(
        name=f"TLSRoute/default/{name}", hostnames=hostnames, backends=backends, source=source(name)
    )


def _world(*listeners: GatewayListener, addresses: tuple[str, ...] = ()) -> World:
    services = [service("reviews"), service("ratings"), service("db", tcp_port(5432)), service("unused")]
    document = Gateway(id=sid("edge"), listeners=listeners, addresses=addresses)
    instances = {"reviews": REVIEWS, "ratings": RATINGS, "db": endpoints("db", "127.0.0.1:24001")}
    return topology(services, instances, gateways=[document]), gateway_node("edge")


def gateway_http(port: Ports) -> World:
    """Three listeners on one port, isolated by hostname; a redirect; a listener that cannot be used; two addresses."""
    moved = rule(
        "HTTPRoute/default/moved/0/0",
        filters=Filters(redirect=Redirect(scheme="https")),
        match=HttpMatch(path="/secure"),
    )
    any_host = GatewayListener(
        name="any",
        port=port(15280),
        protocol="HTTP",
        virtual_hosts=(
            host("shop.example.com", to_reviews("stolen")),
            host("plain.test", moved, to_reviews("plain")),
            host("*", to_reviews("rest", "/rest")),
        ),
    )
    wild = GatewayListener(
        name="wild",
        port=port(15280),
        protocol="HTTP",
        hostname="*.example.com",
        virtual_hosts=(host("*.example.com", to_reviews("wild", "/wild")),),
    )
    shop = GatewayListener(name="shop", port=port(15280), protocol="HTTP", hostname="shop.example.com")
    broken = GatewayListener(
        name="broken", port=port(15281), protocol="HTTP", invalid="InvalidCertificateRef"
    )
    return _world(any_host, wild, shop, broken, addresses=("127.0.0.1", "127.0.0.2"))


def gateway_https(port: Ports) -> World:
    """HTTPS by SNI, one certificate for two listeners, and TLS passed through on the same port."""
    both = certificate("example.com", port)
    shop = GatewayListener(
        name="shop",
        port=port(15443),
        protocol="HTTPS",
        hostname="shop.example.com",
        tls_mode="Terminate",
        certificates=(both,),
        virtual_hosts=(host("shop.example.com", to_reviews("shop")),),
    )
    wild = GatewayListener(
        name="wild",
        port=port(15443),
        protocol="HTTPS",
        hostname="*.example.com",
        tls_mode="Terminate",
        certificates=(both, certificate("other.example.com", port)),
        virtual_hosts=(host("*.example.com", to_reviews("wild")),),
    )
    passed = GatewayListener(
        name="passed",
        port=port(15443),
        protocol="TLS",
        hostname="db.example.com",
        tls_mode="Passthrough",
        sni_routes=(sni("db", "db.example.com"),),
    )
    return _world(wild, passed, shop)


def gateway_tcp(port: Ports) -> World:
    """TLS passed through for any name, TLS that ends at the gateway, TCP by weight, and TCP without a route."""
    passed = GatewayListener(
        name="passed",
        port=port(15444),
        protocol="TLS",
        tls_mode="Passthrough",
        sni_routes=(sni("two", "a.test", "*.b.test"), sni("late", "a.test"), sni("rest")),
    )
    ended = GatewayListener(
        name="ended",
        port=port(15445),
        protocol="TLS",
        hostname="db.test",
        tls_mode="Terminate",
        certificates=(certificate("db.test", port),),
        sni_routes=(sni("db", "db.test"),),
    )
    split = SniRoute(
        name="TCPRoute/default/db",
        hostnames=(),
        backends=(to("db", 5432, weight=2), to("gone", 1, weight=1, invalid="BackendNotFound")),
        source=source("TCPRoute default/db"),
    )
    tcp = GatewayListener(name="tcp", port=port(15446), protocol="TCP", sni_routes=(split,))
    empty = GatewayListener(name="empty", port=port(15447), protocol="TCP")
    return _world(passed, ended, tcp, empty)


def egress(port: Ports) -> World:
    """A gateway on the way out: HTTP, HTTPS that it speaks for its callers, TCP; who may call is held here."""
    only_reviews = Authorization(
        name="billing",
        namespace="default",
        action=Action.ALLOW,
        rules=(
            AuthorizationRule(
                principals=(StringMatch(kind="exact", value="spiffe://ripstop.local/ns/default/sa/reviews"),)
            ),
        ),
    )
    billing = external(
        "billing",
        ServicePort(port=443),
        ServicePort(port=80),
        tcp_port(5432),
        hostnames=("billing.example.com",),
        egress_gateway=sid("egress"),
        tls=TlsOrigination(server_name="billing.example.com"),
        authorizations=(only_reviews,),
        policy=EffectivePolicy(fault=Fault(abort_status=500, abort_percent=1.0)),
    )
    other = external("other", HTTP, endpoints_from=EndpointsFrom.DNS)
    node = gateway_node("egress", address="127.0.0.1", inbound_port=port(15008))
    instances = {"billing": endpoints("", "127.0.0.1:26001"), "other": endpoints("", "127.0.0.1:26002")}
    return topology([billing, other, service("reviews")], instances, nodes=[node]), node


def grpc_node(port: Ports) -> World:
    """A gRPC client without a sidecar: only what is outside the mesh, in the words that gRPC knows."""
    policy = EffectivePolicy(
        load_balancer=LoadBalancer(algorithm=Algorithm.MAGLEV),
        health_checks=(HealthCheck(kind="grpc"),),
        sources=(("loadBalancer.algorithm", source("TrafficPolicy default/greeter")),),
    )
    grpc = ServicePort(port=50051, protocol=Protocol.GRPC)
    method = HttpMatch(path_kind="exact", path="/helloworld.Greeter/SayHello")
    testers = HttpMatch(path="/helloworld.Greeter", headers=(ValueMatch(name="X-Tester", value="1"),))
    rules = (
        rule("GRPCRoute/default/greeter/0/0", to("greeter", 50051), match=method, is_grpc=True),
        rule(
            "GRPCRoute/default/greeter/1/0",
            to("greeter", 50051, weight=9),
            to("canary", 50051, weight=1),
            match=testers,
            is_grpc=True,
        ),
    )
    services = [
        external("greeter", grpc, policy=policy),
        external("canary", grpc),
        external("secure", grpc, tls=TlsOrigination(server_name="secure.example.com")),
        service("reviews"),
    ]
    instances = {
        "greeter": endpoints("", f"127.0.0.1:{port(27001)}"),
        "canary": endpoints("", "127.0.0.1:27002"),
    }
    made = topology(services, instances, routes=[mesh_routes("greeter", *rules)])
    return made, Registration(node=NodeId("default", "client", "client-0"), kind=NodeKind.GRPC)


GATEWAYS = (gateway_http, gateway_https, gateway_tcp, egress, grpc_node)
