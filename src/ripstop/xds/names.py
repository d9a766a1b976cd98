"""Names of resources: formatted and read here only. Names are statistics' names too: renaming breaks dashboards.

``out/<ns>/<service>/<port>`` an outbound cluster (and its ClusterLoadAssignment); ``fb/…`` an aggregate with fallbacks.
``out/<ns>/<service>`` the RouteConfiguration of a service; ``in/<port>`` an application's port, cluster and routes.
"""

from __future__ import annotations

from typing import NamedTuple

from ripstop.ids import ServiceId

OUTBOUND_LISTENER = "outbound"
INBOUND_LISTENER = "inbound"
SVID = "svid"
TRUST = "trust"
AGENT_SDS = "agent_sds"
NO_BACKEND = "invalid-backend"
"""A cluster that is never defined: requests weighted to it get `cluster_not_found_response_code`."""


class ServicePortName(NamedTuple):
    """What an outbound cluster's name says. `variant` is empty but for a consumer's own copy."""

    service: ServiceId
    port: int
    variant: str = ""
    is_fallback_chain: bool = False


def outbound_cluster(service: ServiceId, port: int, variant: str = "") -> str:
    """The cluster for calls to a service's port; `variant` sets a differently configured copy apart."""
    return f"out/{service.namespace}/{service.name}/{port}" + (f"@{variant}" if variant else "")


def fallback_cluster(service: ServiceId, port: int, variant: str = "") -> str:
    """The aggregate cluster of a service's port and the fallbacks after it."""
    return f"fb/{service.namespace}/{service.name}/{port}" + (f"@{variant}" if variant else "")


def parse_cluster(name: str) -> ServicePortName | None:
    """Read an outbound cluster's name; None for every other cluster."""
    name, _, variant = name.partition("@")
    parts = name.split("/")
    if len(parts) != 4 or parts[0] not in ("out", "fb") or not parts[3].isdigit():
        return None
    return ServicePortName(ServiceId(parts[1], parts[2]), int(parts[3]), variant, parts[0] == "fb")


def inbound(port: int) -> str:
    """The cluster and the RouteConfiguration of an application's own port."""
    return f"in/{port}"


def parse_inbound(name: str) -> int | None:
    """The application's port, or None when `name` is no inbound name."""
    prefix, _, port = name.partition("/")
    return int(port) if prefix == "in" and port.isdigit() else None


def outbound_routes(service: ServiceId) -> str:
    """The RouteConfiguration for calls to a service."""
    return f"out/{service.namespace}/{service.name}"


def parse_outbound_routes(name: str) -> ServiceId | None:
    """The service a RouteConfiguration is for, or None."""
    parts = name.split("/")
    return ServiceId(parts[1], parts[2]) if len(parts) == 3 and parts[0] == "out" else None


def upstream_routes(service: ServiceId, port: int) -> str:
    """The RouteConfiguration of a local port that leads to a service's port, whatever its Host."""
    return f"upstream/{service.namespace}/{service.name}/{port}"


def scope(host: str) -> str:
    """The ScopedRouteConfiguration of one host name."""
    return f"scope/{host}"


def upstream_listener(local_port: int) -> str:
    """The listener of a local port that leads to one service."""
    return f"upstream/{local_port}"


def gateway_listener(address: str, port: int) -> str:
    """A socket of a gateway."""
    return f"gateway/{address}/{port}"


def parse_gateway_listener(name: str) -> int | None:
    """The port of a gateway's socket, or None when `name` is none of those."""
    prefix, _, rest = name.partition("/")
    port = rest.rpartition("/")[2]
    return int(port) if prefix == "gateway" and port.isdigit() else None


def gateway_routes(port: int, hostname: str) -> str:
    """The RouteConfiguration of one hostname (``*`` for any) of a gateway's listeners on `port`."""
    return f"gateway/{port}/{hostname or '*'}"


def listener_certificate(name: str) -> str:
    """The Secret with a gateway listener's certificate."""
    return f"tls/{name}"


def target_sni(port: int) -> str:
    """The SNI that asks a peer's sidecar for another port of its application than the registered one."""
    return f"port-{port}.ripstop"
