"""Golden signals: what each sidecar saw since its last report, and what that makes over a window, edge by edge.

An edge is (source, destination), seen from both sides: the caller's sidecar (`outbound`, `gateway`) and the callee's
(`inbound`). Names are ``namespace/service``.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ripstop.ids import SpiffeId

KEEP_S = 120.0
EDGES_MAX = 2000
"""Edges and upstreams that one report may hold."""
Count = Annotated[float, Field(ge=0, le=1e15)]
Name = Annotated[str, Field(max_length=300)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EdgeCount(_Part):
    """Requests of one edge since the last report. `latency` is (upper bound in ms, requests) and not cumulative."""

    direction: Name
    source: Name
    destination: Name
    codes: dict[Name, Count] = {}
    flags: dict[Name, Count] = {}
    latency: list[tuple[float, Count]] = Field(default=[], max_length=100)


class UpstreamCount(_Part):
    """What a caller's cluster did: counts since the last report, and how it stands now."""

    service: Name
    port: int = 0
    retries: Count = 0
    overflow: Count = 0
    ejections: Count = 0
    ejected: Count = 0
    breaker_open: bool = False
    active: Count = 0
    connect_failures: Count = 0
    handshakes: Count = 0
    healthy: Count = 0
    members: Count = 0


class Report(_Part):
    """What one node tells. `interval_s` is what it covers."""

    interval_s: float = Field(default=1.0, gt=0, le=3600)
    edges: list[EdgeCount] = Field(default=[], max_length=EDGES_MAX)
    upstreams: list[UpstreamCount] = Field(default=[], max_length=EDGES_MAX)


@dataclass(slots=True)
class EdgeRow:
    """One edge over a window. Rates are per second, times milliseconds, ratios percent."""

    source: str
    destination: str
    seen_by: str
    requests: float = 0.0
    rate: float = 0.0
    success_percent: float = 100.0
    p50_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    codes: dict[str, float] = field(default_factory=dict)
    flags: dict[str, float] = field(default_factory=dict)
    retries: float = 0.0
    ejections: float = 0.0
    ejected: float = 0.0
    overflow: float = 0.0
    breaker: str = "closed"
    mtls: bool = False


@dataclass(slots=True)
class _Kept:
    """A report and when it came (monotonic seconds)."""

    at: float
    node: str
    service: str
    report: Report


class Signals:
    """The reports of the last two minutes."""

    def __init__(self) -> None:
        self._kept: deque[_Kept] = deque()
        self._latest: dict[str, _Kept] = {}

    def add(self, node: str, service: str, report: Report, now: float) -> None:
        """Take a node's report; `service` is whom it speaks for, by proven identity."""
        kept = _Kept(now, node, service, report)
        self._kept.append(kept)
        self._latest[node] = kept
        while self._kept and self._kept[0].at < now - KEEP_S:
            self._kept.popleft()

    def forget(self, node: str) -> None:
        """A node is gone: how its clusters stood no longer counts."""
        self._latest.pop(node, None)

    def edges(self, window_s: float, now: float) -> list[EdgeRow]:
        """Every edge that had a request within the window, by source and destination."""
        totals: dict[tuple[str, str, str], _Total] = {}
        for kept in self._within(window_s, now):
            for edge in kept.report.edges:
                source, destination = _ends(kept.service, edge)
                side = "inbound" if edge.direction == "inbound" else "outbound"
                totals.setdefault((source, destination, side), _Total()).add(edge)
        rows = [_row(key, total, window_s) for key, total in sorted(totals.items())]
        upstreams = self._upstreams(window_s, now)
        for row in rows:
            if row.seen_by == "outbound":
                _stand(row, upstreams.get((row.source, row.destination)))
        return rows

    def services(self, window_s: float, now: float) -> list[EdgeRow]:
        """The same by service, as its own sidecars saw it; the source is ``*``."""
        totals: dict[str, _Total] = {}
        for kept in self._within(window_s, now):
            for edge in kept.report.edges:
                if edge.direction == "inbound":
                    totals.setdefault(kept.service, _Total()).add(edge)
        return [_row(("*", name, "inbound"), total, window_s) for name, total in sorted(totals.items())]

    def _within(self, window_s: float, now: float) -> Iterator[_Kept]:
        return (kept for kept in self._kept if kept.at > now - window_s)

    def _upstreams(self, window_s: float, now: float) -> dict[tuple[str, str], _Stand]:
        found: dict[tuple[str, str], _Stand] = {}
        for kept in self._within(window_s, now):
            for up in kept.report.upstreams:
                found.setdefault((kept.service, up.service), _Stand()).count(up)
        for kept in self._latest.values():
            for up in kept.report.upstreams:
                if kept.at > now - 10 and (kept.service, up.service) in found:
                    found[kept.service, up.service].now(up)
        return found

    def upstreams(self, window_s: float, now: float) -> list[EdgeRow]:
        """How every caller's clusters stand, with or without requests."""
        rows = []
        for (source, destination), stand in sorted(self._upstreams(window_s, now).items()):
            row = EdgeRow(source, destination, "outbound")
            _stand(row, stand)
            rows.append(row)
        return rows


@dataclass(slots=True)
class _Total:
    codes: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    latency: Counter[float] = field(default_factory=Counter)
    has_identity: bool = False

    def add(self, edge: EdgeCount) -> None:
        self.codes.update(edge.codes)
        self.flags.update(edge.flags)
        for upper, count in edge.latency:
            self.latency[upper] += count  # type: ignore[assignment]
        self.has_identity = self.has_identity or edge.source.startswith("spiffe://")


@dataclass(slots=True)
class _Stand:
    retries: float = 0.0
    overflow: float = 0.0
    ejections: float = 0.0
    ejected: float = 0.0
    is_open: bool = False
    handshakes: float = 0.0

    def count(self, up: UpstreamCount) -> None:
        self.retries += up.retries
        self.overflow += up.overflow
        self.ejections += up.ejections
        self.handshakes += up.handshakes

    def now(self, up: UpstreamCount) -> None:
        """Ejections are each caller's own view: what is shown is the gloomiest."""
        self.ejected = max(self.ejected, up.ejected)
        self.is_open = self.is_open or up.breaker_open or (up.members > 0 and up.ejected >= up.members)


def _ends(reporter: str, edge: EdgeCount) -> tuple[str, str]:
    """Who called whom. A node speaks for itself only: its own end is its proven identity."""
    if edge.direction == "inbound":
        return service_of(edge.source) or "?", reporter
    return reporter, service_of(edge.destination) or "?"


def service_of(name: str) -> str:
    """``namespace/service`` of a SPIFFE URI or of such a name; empty for anything else."""
    try:
        return str(SpiffeId.parse(name).service)
    except ValueError:
        return name if name.count("/") == 1 else ""


def _row(key: tuple[str, str, str], total: _Total, window_s: float) -> EdgeRow:
    requests = float(sum(total.codes.values()))
    failed = sum(count for code, count in total.codes.items() if code == "0" or code.startswith("5"))
    source, destination, side = key
    return EdgeRow(
        source,
        destination,
        side,
        requests=requests,
        rate=requests / window_s,
        success_percent=100.0 * (requests - failed) / requests if requests else 100.0,
        p50_ms=percentile(total.latency.items(), 50),
        p90_ms=percentile(total.latency.items(), 90),
        p99_ms=percentile(total.latency.items(), 99),
        codes={code: float(n) for code, n in sorted(total.codes.items())},
        flags={flag: float(n) for flag, n in sorted(total.flags.items())},
        mtls=total.has_identity,
    )


def _stand(row: EdgeRow, stand: _Stand | None) -> None:
    if stand is None:
        return
    row.retries, row.overflow = stand.retries, stand.overflow
    row.ejections, row.ejected = stand.ejections, stand.ejected
    row.breaker = "open" if stand.is_open else "closed"


def percentile(buckets: Iterable[tuple[float, float]], wanted: float) -> float | None:
    """The value below which `wanted` percent lie, interpolated within its bucket; None when there is nothing."""
    ordered = sorted((upper, count) for upper, count in buckets if count > 0)
    total = sum(count for _, count in ordered)
    if not total:
        return None
    rank, lower = total * wanted / 100, 0.0
    for upper, count in ordered:
        if rank <= count:
            top = upper if upper != float("inf") else lower
            return lower + (top - lower) * (rank / count)
        rank -= count
        lower = upper
    return lower
