"""Service: what is called by a name. core/v1's fields, and where endpoints come from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from ripstop.model.field_types import Address, Hostname, Label, Port, PreciseHostname, ServiceName
from ripstop.model.spec import Issue, Items, Spec
from ripstop.model.workload import Protocol

_APP_PROTOCOLS = {
    "http": Protocol.HTTP,
    "https": Protocol.HTTP,
    "kubernetes.io/ws": Protocol.HTTP,
    "kubernetes.io/wss": Protocol.HTTP,
    "http2": Protocol.HTTP2,
    "kubernetes.io/h2c": Protocol.HTTP2,
    "grpc": Protocol.GRPC,
    "tcp": Protocol.TCP,
    "tls": Protocol.TLS,
}


class ServicePortSpec(Spec):
    """A port that the service is called on."""

    name: Label | None = None
    """The port's name."""
    port: Port
    """The port that callers use."""
    target_port: Port | None = None
    """The application's port; the registered one when left out."""
    protocol: Literal["TCP"] = "TCP"
    """core/v1's transport; what is spoken on it is `appProtocol`."""
    app_protocol: (
        Literal[
            "http",
            "https",
            "http2",
            "grpc",
            "tcp",
            "tls",
            "kubernetes.io/h2c",
            "kubernetes.io/ws",
            "kubernetes.io/wss",
        ]
        | None
    ) = None
    """What the application speaks; what the instances were registered with when left out."""

    @property
    def speaks(self) -> Protocol | None:
        """The protocol; None when it is left to the instances."""
        return _APP_PROTOCOLS[self.app_protocol] if self.app_protocol else None


class StaticEndpoint(Spec):
    """An endpoint with a fixed address."""

    address: Address
    """Its address."""
    port: Port
    """Its port."""
    weight: int = Field(default=1, ge=0, le=1_000_000)
    """Its share of requests."""
    hostname: str = ""
    """The Host that health checks send."""
    zone: str = ""
    """Where it runs: `region/zone`."""


class DnsEndpoints(Spec):
    """Endpoints that DNS names."""

    name: Hostname
    """The name to look up."""
    port: Port | None = None
    """The port of A and AAAA answers; SRV has its own."""
    type: Literal["A", "SRV"] = "A"
    """A (with AAAA) or SRV. An SRV name may start with underscores, given as `_service._tcp.` in `srvPrefix`."""
    srv_prefix: str = Field(default="", pattern=r"^(_[a-z0-9-]+\._(tcp|udp)\.)?$")
    """What stands before the name of an SRV record, like `_http._tcp.`."""

    def issues(self) -> Iterator[Issue]:
        """A and AAAA answers have no port."""
        if self.type == "A" and self.port is None:
            yield Issue(("port",), "A and AAAA answers have no port", "write port: ...")


class EndpointsSpec(Spec):
    """Where endpoints come from, when not from registration."""

    static: Items[StaticEndpoint] = ()
    """Fixed addresses."""
    dns: DnsEndpoints | None = None
    """A name that is looked up again when its time to live ends."""

    def issues(self) -> Iterator[Issue]:
        """One source."""
        if bool(self.static) == bool(self.dns):
            yield Issue((), "one source of endpoints must be given", "write static or dns")


class ServiceSpec(Spec):
    """What is called by a name. Its endpoints are instances registered under it, or what `selector` or `endpoints` say."""

    selector: dict[str, str] = {}
    """Labels of the instances behind it; `app` (the name registered under) and `version` are always there."""
    ports: Items[ServicePortSpec] = Field(default=(), max_length=64)
    """Ports it is called on; 80 and the instances' own when left out."""
    type: Literal["ClusterIP", "ExternalName"] = "ClusterIP"
    """core/v1's type; ExternalName is a name outside the mesh."""
    external_name: PreciseHostname | None = None
    """The name outside, for ExternalName."""
    mesh: bool = True
    """Whether its endpoints have sidecars. False: plaintext is spoken to them (or TLS, by a BackendTLSPolicy)."""
    hostnames: Items[Hostname] = Field(default=(), max_length=16)
    """Further names that it is called by."""
    endpoints: EndpointsSpec | None = None
    """Endpoints outside the mesh."""
    calls: Items[ServiceName] | None = None
    """The services that its instances call: their sidecars are sent nothing else. All when left out."""
    egress_gateway: ServiceName | None = None
    """The gateway that calls to this (outside) service go through."""

    def issues(self) -> Iterator[Issue]:
        """Ports differ; endpoints outside have no mTLS; types have what they need."""
        numbers = [port.port for port in self.ports]
        for index, number in enumerate(numbers):
            if number in numbers[:index]:
                yield Issue(("ports", index, "port"), f"port {number} is given twice", "keep one")
        if self.endpoints and self.mesh:
            cure = "write mesh: false (plaintext, or TLS by a BackendTLSPolicy), or leave endpoints out"
            yield Issue(("endpoints",), "endpoints given by address have no sidecars", cure)
        if self.endpoints and self.selector:
            yield Issue(("selector",), "endpoints and selector are two sources", "keep one of them")
        if (self.type == "ExternalName") != (self.external_name is not None):
            yield Issue(
                ("externalName",), "externalName goes with type: ExternalName", "give both or neither"
            )
        if self.egress_gateway and self.mesh and self.type != "ExternalName":
            yield Issue(("egressGateway",), "only calls that leave the mesh have one", "write mesh: false")
