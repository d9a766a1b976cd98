"""A Gateway document -> listeners, routes and certificates.

Listeners of one port share a socket, and hostnames tell them apart. Each request belongs to the most specific listener
that stands for its hostname and to no other (Gateway API, "Listener isolation"): a path that this one does not route
is 404, even where a less specific listener would have it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ripstop.compiler.access_log import tcp_logs
from ripstop.compiler.hostnames import ANY, by_specificity, hostname_of, owner, within
from ripstop.compiler.http_manager import Manager, by_rds, calling_filters
from ripstop.compiler.outbound import destinations, listener, route_configuration, tcp_proxy
from ripstop.compiler.routes import Place, refusal, routes
from ripstop.compiler.transport import H2, HTTP1, gateway_server
from ripstop.compiler.world import Use, Uses, World
from ripstop.model.topology import Backend, Certificate, Gateway, GatewayListener, SniRoute, VirtualHost
from ripstop.xds import names, pb, type_urls
from ripstop.xds.snapshot import Resource

LOOPBACK = "127.0.0.1"
NOT_FOUND, MISDIRECTED = 404, 421
_FAMILIES = {"HTTP": "HTTP", "HTTPS": "TLS", "TLS": "TLS", "TCP": "TCP"}


@dataclass
class Made:
    """What has been made so far of one gateway: resources without its clusters, and the clusters they name."""

    resources: list[Resource] = field(default_factory=list)
    uses: dict[str, Use] = field(default_factory=dict)


@dataclass
class Socket:
    """The filter chains of one port, and what they refer to."""

    world: World
    port: int
    listeners: list[GatewayListener]
    made: Made
    chains: list[pb.Message] = field(default_factory=list)
    references: set[tuple[str, str]] = field(default_factory=set)


def gateway(world: World, document: Gateway) -> Made:
    """Everything that a proxy of this gateway runs, but for clusters and endpoints."""
    made = Made()
    usable = [each for each in document.listeners if not each.invalid]
    for port, listeners in sorted(_by_port(usable).items()):
        socket = Socket(world, port, by_specificity(listeners), made)
        family = _FAMILIES[listeners[0].protocol]
        _MAKE[family](socket)
        for address in document.addresses or (LOOPBACK,):
            made.resources.append(_listener(socket, address, reads_sni=family == "TLS"))
    made.resources += _secrets(each for each in usable)
    return made


def _by_port(listeners: list[GatewayListener]) -> dict[int, list[GatewayListener]]:
    """By port; what is spoken there is for the first to say (`model.check` reports the others)."""
    found: dict[int, list[GatewayListener]] = defaultdict(list)
    for each in listeners:
        others = found[each.port]
        if not others or _FAMILIES[others[0].protocol] == _FAMILIES[each.protocol]:
            others.append(each)
    return found


def _listener(socket: Socket, address: str, *, reads_sni: bool) -> Resource:
    name = names.gateway_listener(address, socket.port)
    direction = pb.TrafficDirection.INBOUND
    made = listener(name, address, socket.port, socket.chains, direction, reads_sni=reads_sni)
    references = made.references | socket.references
    return Resource(made.type_url, made.name, made.body, made.version, references)


# --- HTTP ---


def _http(socket: Socket) -> None:
    """One chain for all hostnames: they are told apart by Host."""
    virtual_hosts = [
        (hostname, rules) for each in socket.listeners for hostname, rules in _own_hosts(socket, each).items()
    ]
    name = names.gateway_routes(socket.port, ANY)
    _routes(socket, name, "http", dict(virtual_hosts), {})
    socket.chains.append(_http_chain(socket, name))


def _own_hosts(socket: Socket, each: GatewayListener) -> dict[str, VirtualHost | None]:
    """The hostnames of a listener, with its own last: what it has no rules for is not another's to answer."""
    own = {
        host.hostname: host for host in each.virtual_hosts if owner(host.hostname, socket.listeners) is each
    }
    return {**own, hostname_of(each): own.get(hostname_of(each))}


def _routes(
    socket: Socket,
    name: str,
    scheme: str,
    hosts: Mapping[str, VirtualHost | None],
    foreign: Mapping[str, VirtualHost | None],
) -> None:
    """A RouteConfiguration; hosts that are `foreign` here are 421 (RFC 9110, section 15.5.20), unknown ones 404."""
    uses = Uses()
    made = [_virtual_host(socket, uses, scheme, hostname, host) for hostname, host in hosts.items()]
    made += [_refusing(hostname, MISDIRECTED, "another listener is for this host") for hostname in foreign]
    if ANY not in hosts and ANY not in foreign:
        made.append(_refusing(ANY, NOT_FOUND, "no listener is for this host"))
    socket.made.resources.append(route_configuration(name, made, uses, ignores_port=True))
    socket.made.uses.update(uses.by_name)
    socket.references.add((type_urls.ROUTE, name))


def _virtual_host(
    socket: Socket, uses: Uses, scheme: str, hostname: str, host: VirtualHost | None
) -> pb.Message:
    single = "" if ANY in hostname else hostname
    place = Place(world=socket.world, uses=uses, port=socket.port, scheme=scheme, hostname=single)
    made = routes(place, host.rules) if host else []
    made.append(refusal("no-route", NOT_FOUND, "ripstop: no route matches"))
    return pb.VirtualHost(name=hostname, domains=[hostname], routes=made)


def _refusing(hostname: str, status: int, why: str) -> pb.Message:
    return pb.VirtualHost(
        name=hostname, domains=[hostname], routes=[refusal("no-host", status, f"ripstop: {why}")]
    )


def _http_chain(socket: Socket, name: str) -> pb.Message:
    manager = Manager(
        direction="gateway",
        filters=calling_filters(),
        is_edge=True,
        is_logged=socket.world.mesh.access_log,
    )
    return pb.FilterChain(name=name, filters=[by_rds(manager, name)])


# --- TLS ---


def _tls(socket: Socket) -> None:
    """A chain for each hostname, chosen by SNI: HTTPS, TLS that ends here, TLS that passes through."""
    for each in socket.listeners:
        if each.protocol == "HTTPS":
            _https(socket, each)
        else:
            _sni(socket, each)


def _https(socket: Socket, each: GatewayListener) -> None:
    name = names.gateway_routes(socket.port, hostname_of(each))
    foreign = dict.fromkeys(hostname_of(other) for other in within(each, socket.listeners))
    if each.hostname:
        # A connection for one host may be used for another that its certificate has (RFC 9113, section 9.1.1).
        foreign[ANY] = None
    _routes(socket, name, "https", _own_hosts(socket, each), foreign)
    chain = _http_chain(socket, name)
    _match(chain, each.hostname)
    _terminate(socket, chain, each, (H2, HTTP1))
    socket.chains.append(chain)


def _sni(socket: Socket, each: GatewayListener) -> None:
    """TCP behind SNI. A listener's own hostname without a route is refused, not left to a less specific listener."""
    backends: dict[str, tuple[str, tuple[Backend, ...]]] = {}
    for route in each.sni_routes:
        for hostname in route.hostnames or (hostname_of(each),):
            if owner(hostname, socket.listeners) is each:
                backends.setdefault(hostname, (route.name, route.backends))
    backends.setdefault(hostname_of(each), ("no-route", ()))
    for hostname, (name, found) in backends.items():
        chain = _tcp_chain(socket, f"{each.name}/{hostname}/{name}", found)
        _match(chain, hostname)
        if each.tls_mode != "Passthrough":
            _terminate(socket, chain, each, ())
        socket.chains.append(chain)


def _match(chain: pb.Message, hostname: str) -> None:
    """`FilterChainMatch.server_names`; a chain without is for what is left, and for clients without SNI."""
    if hostname not in ("", ANY):
        chain.filter_chain_match.server_names.append(hostname)


def _terminate(socket: Socket, chain: pb.Message, each: GatewayListener, alpn: tuple[str, ...]) -> None:
    certificates = tuple(dict.fromkeys(certificate.name for certificate in each.certificates))
    chain.transport_socket.CopyFrom(gateway_server(certificates, alpn))
    socket.references |= {(type_urls.SECRET, names.listener_certificate(name)) for name in certificates}


# --- TCP ---


def _tcp(socket: Socket) -> None:
    """All connections of a port go to the first route's backends."""
    found = [route for each in socket.listeners for route in each.sni_routes]
    first = found[0] if found else None
    socket.chains.append(_tcp_chain(socket, _route_name(first), first.backends if first else ()))


def _route_name(route: SniRoute | None) -> str:
    return route.name if route else "no-route"


def _tcp_chain(socket: Socket, name: str, backends: tuple[Backend, ...]) -> pb.Message:
    uses = Uses()
    targets = list(destinations(socket.world, uses, backends)) or [(names.NO_BACKEND, 1)]
    socket.made.uses.update(uses.by_name)
    socket.references |= {
        (type_urls.CLUSTER, cluster) for cluster, _ in targets if cluster != names.NO_BACKEND
    }
    service = str(backends[0].service) if backends else ""
    mesh = socket.world.mesh
    logs = tcp_logs("gateway", service, is_logged=mesh.access_log)
    idle_s = mesh.defaults.timeouts.idle_s
    return pb.FilterChain(name=name, filters=[tcp_proxy("gateway", targets, logs, idle_s)])


_MAKE = {"HTTP": _http, "TLS": _tls, "TCP": _tcp}


# --- certificates ---


def _secrets(listeners: Iterable[GatewayListener]) -> Iterator[Resource]:
    """Each certificate once; they are in the snapshots of this gateway alone."""
    found = {c.name: c for each in listeners for c in each.certificates}
    for _, certificate in sorted(found.items()):
        yield _secret(certificate)


def _secret(certificate: Certificate) -> Resource:
    name = names.listener_certificate(certificate.name)
    pair = {
        "certificate_chain": {"inline_string": certificate.certificate_pem},
        "private_key": {"inline_string": certificate.key_pem},
    }
    return Resource.of(type_urls.SECRET, name, pb.to_bytes(pb.Secret(name=name, tls_certificate=pair)))
