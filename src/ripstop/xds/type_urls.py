"""The xDS v3 type URLs that Ripstop speaks, and the order in which they are sent.

Source: the xDS protocol page of Envoy, "Resource types" and "Eventual consistency considerations".
"""

from __future__ import annotations

_PREFIX = "type.googleapis.com/"
LISTENER = _PREFIX + "envoy.config.listener.v3.Listener"
ROUTE = _PREFIX + "envoy.config.route.v3.RouteConfiguration"
SCOPED_ROUTE = _PREFIX + "envoy.config.route.v3.ScopedRouteConfiguration"
CLUSTER = _PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINT = _PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
SECRET = _PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"

MAKE_ORDER: tuple[str, ...] = (SECRET, CLUSTER, ENDPOINT, LISTENER, SCOPED_ROUTE, ROUTE)
"""Additions and changes go out in this order; removals in the reverse one, after the rest is acknowledged."""

SHORT_NAMES: dict[str, str] = {
    LISTENER: "LDS",
    ROUTE: "RDS",
    SCOPED_ROUTE: "SRDS",
    CLUSTER: "CDS",
    ENDPOINT: "EDS",
    SECRET: "SDS",
}
WILDCARD_TYPES = frozenset({LISTENER, CLUSTER, SCOPED_ROUTE})
"""Types for which a first request without names means "all" (Envoy's LDS and CDS; SRDS likewise)."""
