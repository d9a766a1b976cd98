"""A case: a listener with its routes and clusters, what its upstreams do, and what a client does with it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .clients import H1
from .h2peer import H2Client
from .upstreams import Script, Upstream

API = "type.googleapis.com/envoy."
MANAGER = "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def typed(kind: str, **fields: Any) -> dict[str, Any]:
    """A `typed_config`."""
    return {"@type": API + kind, **fields}


def http_filter(name: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": typed("extensions.filters.http." + kind, **fields)}


ROUTER = http_filter("router", "router.v3.Router", suppress_envoy_headers=True)
"""As the mesh's own listeners have it: none of Envoy's own headers."""


def to(cluster: str = "@up", prefix: str = "/", **action: Any) -> dict[str, Any]:
    """A route by prefix to a cluster."""
    return {"match": {"prefix": prefix}, "route": {"cluster": cluster, **action}}


@dataclass
class Cluster:
    """A cluster and the scripts of its hosts."""

    hosts: Sequence[Any] = (Script(),)
    h2: bool = False
    extra: dict[str, Any] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None

    def config(self, name: str, ports: Sequence[int]) -> dict[str, Any]:
        endpoints = [
            {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
            for port in ports
        ]
        config: dict[str, Any] = {
            "name": name,
            "type": "STATIC",
            "connect_timeout": "2s",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
        }
        if self.h2:
            kind = "extensions.upstreams.http.v3.HttpProtocolOptions"
            options = {"explicit_http_config": {"http2_protocol_options": {"allow_connect": True}}}
            config["typed_extension_protocol_options"] = {API[20:] + kind: typed(kind, **options)}
        return config | self.extra


@dataclass
class Case:
    """One row of the table."""

    name: str
    act: Callable[[Stage], Awaitable[None]]
    routes: list[dict[str, Any]]
    clusters: dict[str, Cluster]
    hosts: dict[str, Any]
    """Further fields of the virtual host, or the list of virtual hosts under `all`."""
    manager: dict[str, Any]
    filters: list[dict[str, Any]]
    listener: dict[str, Any]
    network: list[dict[str, Any]] | None
    chains: list[dict[str, Any]]
    """What filter chains have besides their filters: matches, TLS."""
    log: dict[str, Any]

    def cluster_name(self, name: str) -> str:
        return f"{self.name}-{name}"

    def full(self, value: Any) -> Any:
        """Names of clusters, `@up`, as the bootstrap says them."""
        if isinstance(value, dict):
            return {key: self.full(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.full(item) for item in value]
        if isinstance(value, str) and value.startswith("@"):
            return self.cluster_name(value[1:])
        return value

    def listener_config(self, port: int, log: str) -> dict[str, Any]:
        access_log = file_log(log, self.log)
        if self.network is None:
            host = {"name": "v", "domains": ["*"], "routes": self.routes}
            hosts = self.hosts.get("all") or [host | self.hosts]
            manager = {
                "stat_prefix": self.name,
                "codec_type": "AUTO",
                "access_log": access_log,
                "route_config": {"name": self.name, "virtual_hosts": hosts},
                "http_filters": [*self.filters, ROUTER],
            } | self.manager
            network = [{"name": "hcm", "typed_config": typed(MANAGER, **manager)}]
        else:
            network = [dict(item) for item in self.network]
            last = network[-1] = {**network[-1], "typed_config": {**network[-1]["typed_config"]}}
            last["typed_config"] |= {"access_log": access_log, "stat_prefix": self.name}
        listener = {
            "name": self.name,
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
            "filter_chains": [{"filters": network} | chain for chain in self.chains],
        } | self.listener
        filled: dict[str, Any] = self.full(listener)
        return filled


LOG_FIELDS = {
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(:PATH)%",
    "protocol": "%PROTOCOL%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "upstream": "%UPSTREAM_HOST%",
    "cluster": "%UPSTREAM_CLUSTER%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "grpc": "%GRPC_STATUS%",
    "received": "%BYTES_RECEIVED%",
    "sent": "%BYTES_SENT%",
}


def file_log(path: str, more: dict[str, Any]) -> list[dict[str, Any]]:
    config = typed(
        "extensions.access_loggers.file.v3.FileAccessLog",
        path=path,
        log_format={"json_format": LOG_FIELDS | more},
    )
    return [{"name": "log", "typed_config": config}]


@dataclass
class Stage:
    """Where a case is acted: a data plane's listener, and this plane's own upstreams."""

    case: Case
    port: int
    upstreams: dict[str, Upstream]
    seen: list[Any] = field(default_factory=list)
    clients: list[Any] = field(default_factory=list)

    async def connect(self, tls: ssl.SSLContext | None = None, server_name: str = "a.test") -> H1:
        """A raw connection; what it gets is told under one heading.

        Raises:
            OSError: TLS does not come about.
        """
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=tls, server_hostname=server_name if tls else None, limit=2**20
        )
        client = H1(reader, writer)
        self.seen.append(client.seen)
        self.clients.append(client)
        return client

    async def send(self, request: bytes, *, method: str = "GET", close: bool = True) -> Any:
        """One request by raw bytes on a connection of its own, and its answer."""
        client = await self.connect()
        await client.send(request)
        message = await client.answer(method)
        if close:
            await client.close()
        return message

    async def ask(
        self,
        path: str = "/",
        *,
        method: str = "GET",
        host: str = "a.test",
        body: bytes | None = None,
        **headers: str,
    ) -> Any:
        """One plain request; `headers` with `_` for `-`."""
        return await self.send(request(path, method=method, host=host, body=body, **headers), method=method)

    async def h2(self, tls: ssl.SSLContext | None = None, **settings: Any) -> H2Client:
        client = await H2Client.connect(self.port, tls, **settings)
        self.seen.append(client.seen)
        self.clients.append(client)
        return client

    def note(self, **facts: Any) -> None:
        """Say something of what was seen."""
        self.seen.append(facts)

    def up(self, name: str = "up", host: int = 0) -> Upstream:
        return self.upstreams[f"{name}{host}"]

    def cluster(self, name: str) -> str:
        return self.case.cluster_name(name)

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def request(
    path: str = "/", *, method: str = "GET", host: str = "a.test", body: bytes | None = None, **headers: str
) -> bytes:
    """A request of HTTP/1.1."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


CASES: dict[str, Case] = {}


def case(
    *,
    routes: list[dict[str, Any]] | None = None,
    up: Sequence[Any] | None = None,
    clusters: dict[str, Cluster] | None = None,
    hosts: dict[str, Any] | None = None,
    manager: dict[str, Any] | None = None,
    filters: list[dict[str, Any]] | None = None,
    listener: dict[str, Any] | None = None,
    network: list[dict[str, Any]] | None = None,
    chains: list[dict[str, Any]] | None = None,
    log: dict[str, Any] | None = None,
) -> Callable[[Callable[[Stage], Awaitable[None]]], Callable[[Stage], Awaitable[None]]]:
    """Add a case to the table; its function's name says what must be so. `up` are the steps of its only upstream."""

    def add(act: Callable[[Stage], Awaitable[None]]) -> Callable[[Stage], Awaitable[None]]:
        name = act.__name__
        assert name not in CASES, f"{name} is there twice"
        CASES[name] = Case(
            name,
            act,
            [to()] if routes is None else routes,
            clusters or {"up": Cluster([Script(tuple(up))] if up else [Script()])},
            hosts or {},
            manager or {},
            filters or [],
            listener or {},
            network,
            chains or [{}],
            log or {},
        )
        return act

    return add
