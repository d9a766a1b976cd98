"""What a sidecar's statistics say happened since the last look: Envoy's counters -> an
`observe.golden.Report`, as the JSON values that it is sent as.

The counters are Envoy's own, by its Prometheus endpoint (names: "Cluster manager", "Circuit breakers", "Outlier
detection"), and `mesh_requests` / `mesh_duration_ms`, which the compiler's access logger counts by caller and callee.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from ripstop.xds import names

FILTER = (
    "^mesh\\.|upstream_rq_retry$|upstream_rq_pending_overflow$|ejections_active$|ejections_enforced_total$"
    "|circuit_breakers\\.default\\.rq_open$|upstream_rq_active$|upstream_cx_connect_fail$|ssl\\.handshake$"
    "|membership_(healthy|total)$"
)
PATH = "/stats/prometheus?usedonly&filter="
_LINE = re.compile(r"^(\w+)(?:\{(.*)\})? ([0-9.eE+-]+|NaN)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Sample(NamedTuple):
    """One line of a scrape."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


def samples(text: str) -> Iterator[Sample]:
    """Read Prometheus' text format."""
    for line in text.splitlines():
        match = _LINE.match(line)
        if match and match[3] != "NaN":
            yield Sample(match[1], tuple(_LABEL.findall(match[2] or "")), float(match[3]))


class Scrapes:
    """Turns one scrape after another into reports."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}

    def report(self, text: str, interval_s: float) -> dict[str, Any]:
        """What happened since the last scrape. A counter that fell began anew: the sidecar was restarted."""
        now = {(s.name, s.labels): s.value for s in samples(text)}
        if not now:
            return {"interval_s": interval_s, "edges": [], "upstreams": []}
        delta = {
            key: value - self._before.get(key, 0.0) if value >= self._before.get(key, 0.0) else value
            for key, value in now.items()
        }
        self._before = now
        return {"interval_s": interval_s, "edges": _edges(delta), "upstreams": _upstreams(delta, now)}


Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def _edges(delta: Values) -> list[dict[str, Any]]:
    codes: dict[tuple[str, str, str], dict[str, float]] = defaultdict(dict)
    flags: dict[tuple[str, str, str], dict[str, float]] = defaultdict(dict)
    buckets: dict[tuple[str, str, str], dict[float, float]] = defaultdict(dict)
    for (name, labels), value in delta.items():
        if value <= 0 or not name.startswith("envoy_mesh_"):
            continue
        tags = dict(labels)
        edge = (tags.get("direction", ""), tags.get("source", ""), tags.get("destination", ""))
        if name == "envoy_mesh_requests":
            _add(codes[edge], tags.get("code", "0"), value)
            if tags.get("flags", "-") != "-":
                _add(flags[edge], tags["flags"], value)
        elif name == "envoy_mesh_duration_ms_bucket":
            buckets[edge][float(tags["le"].replace("+Inf", "inf"))] = value
    return [
        {
            "direction": edge[0],
            "source": edge[1],
            "destination": edge[2],
            "codes": codes.get(edge, {}),
            "flags": flags.get(edge, {}),
            "latency": _apart(buckets.get(edge, {})),
        }
        for edge in dict.fromkeys([*codes, *buckets])  # Envoy merges histograms a little after it counts
    ]


def _add(counts: dict[str, float], key: str, value: float) -> None:
    counts[key] = counts.get(key, 0.0) + value


def _apart(cumulative: dict[float, float]) -> list[tuple[float, float]]:
    """Prometheus' buckets hold all below; ours hold what is between."""
    found: list[tuple[float, float]] = []
    before = 0.0
    for upper, count in sorted(cumulative.items()):
        if count > before:
            found.append((min(upper, 3_600_000.0), count - before))
        before = max(before, count)
    return found


_COUNTS = {
    "envoy_cluster_upstream_rq_retry": "retries",
    "envoy_cluster_upstream_rq_pending_overflow": "overflow",
    "envoy_cluster_outlier_detection_ejections_enforced_total": "ejections",
    "envoy_cluster_upstream_cx_connect_fail": "connect_failures",
    "envoy_cluster_ssl_handshake": "handshakes",
}
_GAUGES = {
    "envoy_cluster_outlier_detection_ejections_active": "ejected",
    "envoy_cluster_upstream_rq_active": "active",
    "envoy_cluster_membership_healthy": "healthy",
    "envoy_cluster_membership_total": "members",
}


def _upstreams(delta: Values, now: Values) -> list[dict[str, Any]]:
    """Copies of a cluster for one service's port are counted together."""
    found: dict[tuple[str, int], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for (name, labels), value in now.items():
        cluster = names.parse_cluster(dict(labels).get("envoy_cluster_name", ""))
        if cluster is None:
            continue
        counts = found[str(cluster.service), cluster.port]
        if name in _COUNTS:
            counts[_COUNTS[name]] += delta[name, labels]
        elif name in _GAUGES:
            counts[_GAUGES[name]] += value
        elif name == "envoy_cluster_circuit_breakers_default_rq_open":
            counts["breaker_open"] = max(counts["breaker_open"], value)
    return [_upstream(service, port, counts) for (service, port), counts in found.items()]


def _upstream(service: str, port: int, counts: dict[str, float]) -> dict[str, Any]:
    is_open = counts.pop("breaker_open", 0.0) > 0
    return {"service": service, "port": port, "breaker_open": is_open, **counts}
