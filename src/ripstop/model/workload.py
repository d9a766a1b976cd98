"""What runs where: an instance as its agent registered it, and an endpoint as a service resolves to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from ripstop.ids import NodeId, ServiceId


class Protocol(StrEnum):
    """What an application speaks on a port."""

    HTTP = "http"
    HTTP2 = "http2"
    GRPC = "grpc"
    TCP = "tcp"
    TLS = "tls"

    @property
    def is_http(self) -> bool:
        """Whether requests can be routed, retried and authorized one by one."""
        return self in (Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC)


class Health(StrEnum):
    """What is known of an endpoint; the words of Envoy's `core.v3.HealthStatus`."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    STARTING = "starting"
    """The sidecar is there, the application does not listen yet: nobody calls it."""
    DRAINING = "draining"


@dataclass(frozen=True, slots=True, order=True)
class Locality:
    """Where something runs, most general first; empty parts are unknown (`core.v3.Locality`)."""

    region: str = ""
    zone: str = ""
    sub_zone: str = ""


class NodeKind(StrEnum):
    """Which part a data plane plays."""

    SIDECAR = "sidecar"
    GATEWAY = "gateway"
    GRPC = "grpc"
    """A gRPC client with `xds:///`: it takes API listeners and plaintext clusters only (reference of gRFC A27)."""


class DataPlaneKind(StrEnum):
    """Which program a node's data plane is."""

    ENVOY = "envoy"
    NATIVE = "native"
    """`ripstop-proxy`, which does more than the resources say: see `compiler/native.py`."""


DEFAULT_DATA_PLANE = DataPlaneKind.NATIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A local port of a sidecar that leads to one service's port (`--upstream SERVICE:PORT=LOCALPORT`)."""

    service: ServiceId
    port: int
    local_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One instance, as its agent told it. Stored; lives as long as its lease is renewed.

    `address`:`inbound_port` is where peers reach its sidecar by mTLS; `app_port` is where the application listens on
    the instance's own loopback. A gateway has no `app_port` (0) and needs none. `ports` maps further service ports.
    `lease_s` is in seconds; `expires_at` is wall time in seconds.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    node: NodeId
    kind: NodeKind = NodeKind.SIDECAR
    address: str = "127.0.0.1"
    app_port: int = 0
    inbound_port: int = 0
    outbound_port: int = 0
    admin_port: int = 0
    protocol: Protocol = Protocol.HTTP
    version: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    locality: Locality = Locality()
    weight: int = 1
    upstreams: tuple[Upstream, ...] = ()
    health: Health = Health.HEALTHY
    lease_s: float = 15.0
    expires_at: float = 0.0
    data_plane: DataPlaneKind = DataPlaneKind.ENVOY

    def all_labels(self) -> dict[str, str]:
        """The labels a Service's selector sees: its own, and `app` and `version`, which the agent always gives."""
        given = {"app": self.node.service, **dict(self.labels)}
        return given | ({"version": self.version} if self.version else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One address a service resolves to. `identity` is None where the peer is not in the mesh (plaintext or TLS)."""

    address: str
    port: int
    instance: str = ""
    identity: ServiceId | None = None
    hostname: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    locality: Locality = Locality()
    weight: int = 1
    health: Health = Health.HEALTHY
