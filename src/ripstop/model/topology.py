"""The world at one generation: all documents and endpoints, resolved. What the compiler reads, and nothing else.

`model/resolve` makes it from documents, registrations and looked-up endpoints; it is immutable and compares by value.
References are checked here already: a backend that cannot be used says why (`Backend.invalid`), in Gateway API's reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ripstop.ids import NodeId, ServiceId
from ripstop.model.policy import (
    Authorization,
    EffectivePolicy,
    MeshSettings,
    Retry,
    SessionAffinity,
    Source,
    Timeouts,
)
from ripstop.model.workload import Endpoint, Protocol, Registration


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort:
    """A port a service is called on. `target_port` is the application's port when it differs, else 0."""

    port: int
    name: str = ""
    protocol: Protocol = Protocol.HTTP
    target_port: int = 0


class EndpointsFrom(StrEnum):
    """Where a service's endpoints come from."""

    REGISTRATION = "registration"
    STATIC = "static"
    DNS = "dns"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOrigination:
    """TLS towards an endpoint outside the mesh (BackendTLSPolicy): verified against `ca_pem`, or the system's roots."""

    server_name: str
    ca_pem: str = ""
    subject_alt_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service as callers see it. Endpoints are not in here: they change on their own (`Topology.endpoints`).

    `hosts` are every name it is called by (without port). `identities` are the services whose SVID its endpoints may show:
    a Service with a selector `app: reviews` is served by `reviews`; empty means any of `namespace`.
    `is_meshed` is False where endpoints are outside the mesh: no mTLS is spoken to them.
    """

    id: ServiceId
    hosts: tuple[str, ...]
    ports: tuple[ServicePort, ...]
    endpoints_from: EndpointsFrom = EndpointsFrom.REGISTRATION
    selector: Mapping[str, str] = field(default_factory=dict)
    identities: tuple[ServiceId, ...] = ()
    is_meshed: bool = True
    tls: TlsOrigination | None = None
    policy: EffectivePolicy = field(default_factory=EffectivePolicy)
    authorizations: tuple[Authorization, ...] = ()
    """Those that hold at the sidecars registered under this service's name (server side)."""
    calls: frozenset[ServiceId] | None = None
    """The services its sidecars may be sent (`spec.calls`); None: all."""
    egress_gateway: ServiceId | None = None
    """Calls go by this gateway's mTLS listener (external services)."""
    source: Source | None = None

    def port(self, number: int) -> ServicePort | None:
        """The port called `number`, if there is one."""
        return next((p for p in self.ports if p.port == number), None)


# --- routes ---


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueMatch:
    """A header or query parameter: `kind` is exact or regex (RE2, whole value)."""

    name: str
    value: str
    kind: str = "exact"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpMatch:
    """What a request must look like. `path_kind` is exact, prefix (by path element) or regex; a gRPC method is an exact
    or regex path, a gRPC service a prefix path."""

    path_kind: str = "prefix"
    path: str = "/"
    method: str = ""
    headers: tuple[ValueMatch, ...] = ()
    query: tuple[ValueMatch, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderChange:
    """A header modifier filter: set replaces, add appends, remove drops."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PathChange:
    """`kind` is ReplaceFullPath or ReplacePrefixMatch."""

    kind: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """RequestRedirect; empty parts are kept from the request. `port` 0 means: by the rule of the specification."""

    scheme: str = ""
    hostname: str = ""
    port: int = 0
    path: PathChange | None = None
    status: int = 302


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """URLRewrite."""

    hostname: str = ""
    path: PathChange | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """RequestMirror: `numerator` of `denominator` requests are copied."""

    backend: Backend
    numerator: int = 100
    denominator: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """CORS filter, Gateway API fields."""

    allow_origins: tuple[str, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    allow_credentials: bool = False
    max_age_s: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a rule or a backend does to requests and answers."""

    request_headers: HeaderChange | None = None
    response_headers: HeaderChange | None = None
    redirect: Redirect | None = None
    rewrite: Rewrite | None = None
    mirrors: tuple[Mirror, ...] = ()
    cors: Cors | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """Where a rule sends a share of requests. `invalid` is a Gateway API reason (RefNotPermitted, BackendNotFound,
    InvalidKind, UnsupportedProtocol) when it cannot be used: its share is answered 500."""

    service: ServiceId | None
    port: int = 0
    weight: int = 1
    filters: Filters = Filters()
    invalid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRule:
    """One match of one rule, ready to be compared in order. `policy` is set where a TrafficPolicy targets the route.

    `name` is unique in its list: ``<kind>/<namespace>/<route>/<rule name or index>/<match index>``.
    """

    name: str
    source: Source
    match: HttpMatch
    filters: Filters = Filters()
    backends: tuple[Backend, ...] = ()
    timeouts: Timeouts | None = None
    retry: Retry | None = None
    session: SessionAffinity | None = None
    policy: EffectivePolicy | None = None
    is_grpc: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshRoutes:
    """Rules for calls to one service (a Service as parent), already merged and in the order of the specification.

    `port` 0 holds for every port without rules of its own. `consumer_namespace` is empty for producer routes, else these
    rules are for callers of that namespace alone and stand in for the producer's. `http` None: the service has no HTTP
    routes (all goes to itself); an empty tuple means that nothing matches (404).
    """

    service: ServiceId
    port: int = 0
    consumer_namespace: str = ""
    http: tuple[HttpRule, ...] | None = None
    tcp: tuple[Backend, ...] | None = None
    grpc_only: bool = False


# --- gateways ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate and key that a gateway listener serves (a Secret of type kubernetes.io/tls). Never logged."""

    name: str
    certificate_pem: str = field(repr=False)
    key_pem: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualHost:
    """Rules of one hostname (``*`` for any, ``*.example.com`` for its subdomains) on a listener, in order."""

    hostname: str
    rules: tuple[HttpRule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SniRoute:
    """TLS passed through by SNI, or a TCP listener (`hostnames` empty)."""

    name: str
    hostnames: tuple[str, ...]
    backends: tuple[Backend, ...]
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayListener:
    """A listener of a Gateway document. `protocol` is HTTP, HTTPS, TLS or TCP; `tls_mode` Terminate or Passthrough.

    Listeners of one port and protocol share a socket; `hostname` isolates them. `virtual_hosts` hold the intersected
    hostnames, most specific first.
    """

    name: str
    port: int
    protocol: str
    hostname: str = ""
    tls_mode: str = ""
    certificates: tuple[Certificate, ...] = ()
    virtual_hosts: tuple[VirtualHost, ...] = ()
    sni_routes: tuple[SniRoute, ...] = ()
    source: Source | None = None
    invalid: str = ""
    """A reason why it is not programmed (its socket is not opened)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A Gateway document; the nodes registered with kind gateway under its name run it. `addresses` to listen on."""

    id: ServiceId
    listeners: tuple[GatewayListener, ...]
    addresses: tuple[str, ...] = ()
    source: Source | None = None


# --- status of documents ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A Gateway API status condition of one document for one parent."""

    document: str
    parent: str
    type: str
    status: bool
    reason: str
    message: str = ""


# --- the whole ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Everything, resolved. `endpoints` is its own part: it changes a hundred times more often than the rest.

    Two topologies whose parts other than `endpoints` and `nodes` are the same share those objects (`is`), so that a
    change of endpoints is recognised without comparing the world.
    """

    generation: int
    mesh: MeshSettings = field(default_factory=MeshSettings)
    services: Mapping[ServiceId, Service] = field(default_factory=dict)
    endpoints: Mapping[tuple[ServiceId, int], tuple[Endpoint, ...]] = field(default_factory=dict)
    """By service and service port; sorted by address and port."""
    routes: tuple[MeshRoutes, ...] = ()
    gateways: Mapping[ServiceId, Gateway] = field(default_factory=dict)
    nodes: Mapping[NodeId, Registration] = field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
