"""What was seen of a case, made comparable, and the differences that are meant."""

from __future__ import annotations

import difflib
import json
import re
from typing import Any

from .case import Case
from .planes import Plane

IGNORED = {
    "date": "the time",
    "x-envoy-upstream-service-time": "a duration",
}
"""Headers that no case looks at, and why."""

SHOWN_AS = {
    "x-envoy-expected-rq-timeout-ms": re.compile("[0-9]+"),
    "x-request-id": re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"),
}
"""Headers whose value is random: it only has to have a form."""

LONGEST = 300
"""A longer value of a header is told by its length."""

COUNTERS = (
    "cluster.{up}.upstream_rq_total",
    "cluster.{up}.upstream_rq_retry",
    "cluster.{up}.upstream_rq_retry_limit_exceeded",
    "cluster.{up}.upstream_rq_timeout",
    "cluster.{up}.upstream_rq_per_try_timeout",
    "cluster.{up}.upstream_rq_pending_overflow",
    "cluster.{up}.upstream_rq_active",
    "cluster.{up}.upstream_rq_pending_active",
    "cluster.{up}.upstream_rq_2xx",
    "cluster.{up}.upstream_rq_5xx",
    "cluster.{up}.upstream_cx_connect_fail",
    "cluster.{up}.upstream_cx_connect_timeout",
    "http.{case}.downstream_rq_total",
    "http.{case}.downstream_rq_2xx",
    "http.{case}.downstream_rq_4xx",
    "http.{case}.downstream_rq_5xx",
    "http.{case}.downstream_rq_active",
)


def observation(plane: Plane, case: Case, counters: dict[str, int]) -> dict[str, Any]:
    """Everything that the world saw of a case on a data plane, without what may differ."""
    stage = plane.stages[case.name]
    names = {str(up.port): f"<{name}>" for name, up in stage.upstreams.items()} | {str(stage.port): "<here>"}

    def text(value: str) -> str:
        return re.sub(
            r"(127\.0\.0\.1|a\.test|localhost):(\d+)", lambda m: f"{m[1]}:{names.get(m[2], '<port>')}", value
        )

    def clean(value: Any) -> Any:
        match value:
            case dict():
                return {str(k): clean(v) for k, v in value.items()}
            case list() if value and all(isinstance(item, tuple) for item in value):
                return sorted(header(name, text(content)) for name, content in value if name not in IGNORED)
            case list() | tuple():
                return [clean(item) for item in value]
            case str():
                return text(value)
            case _:
                return value

    seen = {
        "client": clean(stage.seen),
        "upstreams": {name: clean(up.seen) for name, up in stage.upstreams.items() if up.seen},
        "log": clean(plane.log_lines(case)),
        "counters": case_counters(case, counters),
    }
    if case.name in plane.faults:
        seen["fault"] = plane.faults[case.name]
    return seen


def header(name: str, value: str) -> str:
    form = SHOWN_AS.get(name)
    if form and form.fullmatch(value):
        value = "<random>"
    return f"{name}: {value if len(value) <= LONGEST else f'{len(value)} characters'}"


def case_counters(case: Case, counters: dict[str, int]) -> dict[str, int]:
    found = {}
    for pattern in COUNTERS:
        for up in case.clusters:
            name = pattern.format(case=case.name, up=case.cluster_name(up))
            if counters.get(name):
                found[name] = counters[name]
    return found


def difference(envoy: dict[str, Any], native: dict[str, Any]) -> str:
    """Lines that differ, Envoy's with a minus; empty when there are none."""
    before, after = lines(envoy), lines(native)
    return "\n".join(difflib.unified_diff(before, after, "envoy", "native", lineterm="", n=2))


def lines(value: Any) -> list[str]:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).splitlines()
