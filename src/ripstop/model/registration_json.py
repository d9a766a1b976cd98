"""Registrations as JSON values: what agents send, keep and hand on. What comes from others is read by
`registration_check`, which agents do without: it needs pydantic."""

from __future__ import annotations

from typing import Any

from ripstop.ids import NodeId, ServiceId
from ripstop.model.workload import (
    DataPlaneKind,
    Health,
    Locality,
    NodeKind,
    Protocol,
    Registration,
    Upstream,
)


def registration_to_json(r: Registration) -> dict[str, Any]:
    """A registration as JSON values."""
    place = r.locality
    return {
        "node": list(r.node),
        "kind": r.kind.value,
        "address": r.address,
        "app_port": r.app_port,
        "inbound_port": r.inbound_port,
        "outbound_port": r.outbound_port,
        "admin_port": r.admin_port,
        "protocol": r.protocol.value,
        "version": r.version,
        "labels": dict(r.labels),
        "locality": {"region": place.region, "zone": place.zone, "sub_zone": place.sub_zone},
        "weight": r.weight,
        "upstreams": [
            {"service": list(u.service), "port": u.port, "local_port": u.local_port} for u in r.upstreams
        ],
        "health": r.health.value,
        "lease_s": r.lease_s,
        "expires_at": r.expires_at,
        "data_plane": r.data_plane.value,
    }


def registration_of_ours(value: Any) -> Registration:
    """Read what `registration_to_json` made, from a place where we alone write.

    Raises:
        ValueError, TypeError, KeyError: it is something else.
    """
    return Registration(**value | _parts(value))


def _parts(value: Any) -> dict[str, Any]:
    """The fields that are no JSON values."""
    return {
        "node": NodeId(*value["node"]),
        "kind": NodeKind(value["kind"]),
        "protocol": Protocol(value["protocol"]),
        "locality": Locality(**value["locality"]),
        "upstreams": tuple(Upstream(**u | {"service": ServiceId(*u["service"])}) for u in value["upstreams"]),
        "health": Health(value["health"]),
        "data_plane": DataPlaneKind(value["data_plane"]),
    }
