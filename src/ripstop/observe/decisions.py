"""Decisions: why requests went where they went, as data planes kept them; the newest, bounded, found by request id."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

KEPT = 50_000
KEPT_BYTES = 64 * 1024 * 1024
REPORT_MAX = 1000


class DecisionReport(BaseModel):
    """What an agent tells: records of its data plane, and how many it could not keep."""

    model_config = ConfigDict(extra="forbid")

    decisions: list[dict[str, Any]] = Field(max_length=REPORT_MAX)
    dropped: int = Field(default=0, ge=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which decisions are asked for; what is empty does not matter.

    `service` is of the node that decided, or of the service called; `status` is ``503`` or ``5xx``.
    """

    id: str = ""
    service: str = ""
    node: str = ""
    status: str = ""
    method: str = ""
    path: str = ""
    flags: bool = False

    def matches(self, found: Decision) -> bool:
        """Whether a decision is one of them."""
        record = found.record
        request, answer = record.get("request", {}), record.get("answer", {})
        called = record.get("route", {}).get("service", "")
        return (
            self.id in ("", str(record.get("id", "")))
            and self.node in ("", found.node)
            and (not self.service or self.service in (found.service, called))
            and _has_status(self.status, int(answer.get("status", 0)))
            and self.method.upper() in ("", str(request.get("method", "")))
            and str(request.get("path", "")).startswith(self.path)
            and (not self.flags or answer.get("flags", "-") not in ("", "-"))
        )


def _has_status(wanted: str, found: int) -> bool:
    if wanted.endswith("xx"):
        return str(found)[:1] == wanted[:1]
    return not wanted or wanted == str(found)


@dataclass(frozen=True, slots=True)
class Decision:
    """One record and who made it; `number` counts up."""

    number: int
    node: str
    service: str
    record: dict[str, Any]
    size: int

    def to_json(self) -> dict[str, Any]:
        """As the API shows it."""
        return {"number": self.number, "node": self.node, **self.record}


@dataclass(slots=True)
class Decisions:
    """The newest of the whole mesh."""

    most: int = KEPT
    most_bytes: int = KEPT_BYTES
    dropped: int = 0
    _kept: deque[Decision] = field(default_factory=deque)
    _by_id: dict[str, list[Decision]] = field(default_factory=lambda: defaultdict(list))
    _bytes: int = 0
    _last: int = 0
    _watch_until: float = 0.0

    @property
    def last(self) -> int:
        """The number of the newest one."""
        return self._last

    def add(self, node: str, service: str, report: DecisionReport) -> None:
        """Take what a node tells."""
        self.dropped += report.dropped
        for record in report.decisions:
            self._last += 1
            made = Decision(self._last, node, service, record, len(json.dumps(record)))
            self._kept.append(made)
            self._bytes += made.size
            if request_id := str(record.get("id", "")):
                self._by_id[request_id].append(made)
        while len(self._kept) > self.most or self._bytes > self.most_bytes:
            self._forget(self._kept.popleft())

    def _forget(self, oldest: Decision) -> None:
        self._bytes -= oldest.size
        request_id = str(oldest.record.get("id", ""))
        if left := self._by_id.get(request_id):
            left.remove(oldest)
            if not left:
                del self._by_id[request_id]

    def of_request(self, request_id: str) -> list[Decision]:
        """Every hop of a request, in the order in which the hops began."""
        return sorted(self._by_id.get(request_id, ()), key=lambda made: float(made.record.get("at", 0.0)))

    def find(self, wanted: Wanted, after: int = 0, limit: int = 100) -> list[Decision]:
        """The newest `limit` that are wanted with a number above `after`, oldest first."""
        found: list[Decision] = []
        for made in self._newest_first(after):
            if wanted.matches(made):
                found.append(made)
                if len(found) == limit:
                    break
        return found[::-1]

    def _newest_first(self, after: int) -> Iterator[Decision]:
        for made in reversed(self._kept):
            if made.number <= after:
                return
            yield made

    # --- watching ---

    def watch(self, for_s: float, now: float) -> None:
        """Somebody looks at requests live, for so long: data planes are asked to keep them all."""
        self._watch_until = max(self._watch_until, now + for_s)

    def watch_left_s(self, now: float) -> float:
        """For how long data planes are still to keep all requests."""
        return max(0.0, self._watch_until - now)
