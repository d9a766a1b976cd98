"""Decisions as text: one line for a hop, a paragraph for why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Hop = dict[str, Any]


def json_line(hops: list[Hop]) -> str:
    """A request and its hops on one line, for programs."""
    return json.dumps({"id": hops[0].get("id", ""), "hops": hops}, default=str)


def tree(hops: list[Hop]) -> str:
    """A request and its hops, one line each, the later ones deeper."""
    request = hops[0].get("request", {})
    lines = [f"{hops[0].get('id', '')}  {request.get('method', '')} {url_of(hops[0])}"]
    lines += [f"{'  ' * (depth + 1)}{hop_line(hop)}" for depth, hop in enumerate(hops)]
    return "\n".join(lines)


def url_of(hop: Hop) -> str:
    """What was asked for."""
    request = hop.get("request", {})
    return f"{request.get('scheme', 'http')}://{request.get('authority', '')}{request.get('path', '')}"


def hop_line(hop: Hop) -> str:
    """Who decided, by what rule, where it went, how it ended."""
    answer, attempts = hop.get("answer", {}), hop.get("attempts", [])
    where = f"{hop.get('direction') or 'gateway'} at {hop['node']}"
    route = hop.get("route", {})
    rule = route.get("source") or route.get("name", "")
    ended = f"{answer.get('status', 0)}" + _flags(answer)
    tries = f" in {len(attempts)} tries" if len(attempts) > 1 else ""
    to = f" -> {attempts[-1].get('endpoint', '')}" if attempts and attempts[-1].get("endpoint") else ""
    by = f" by {rule}" if rule else ""
    return f"{where}{by}{to}  {ended}{tries}  {hop.get('duration_ms', 0):.1f} ms"


def _flags(answer: Hop) -> str:
    flags = answer.get("flags", "-")
    return f" {flags}" if flags not in ("", "-") else ""


def story(hop: Hop) -> str:
    """Everything that is known of a hop, a line for each step."""
    return "\n".join([hop_line(hop), *(f"    {step:<14}{text}" for step, text in _steps(hop))])


def _steps(hop: Hop) -> Iterator[tuple[str, str]]:
    peer, route, answer = hop.get("peer", {}), hop.get("route", {}), hop.get("answer", {})
    chain = f", filter chain {hop['filter_chain']}" if hop.get("filter_chain") else ""
    yield "listener", f"{hop.get('listener', '')}{chain}"
    who = peer.get("identity") or "without a certificate"
    yield "caller", f"{who} from {peer.get('address', '')}" + (f", {peer['tls']}" if peer.get("tls") else "")
    if verdict := _verdict(hop):
        yield "authorization", verdict
    if route:
        yield "rule", f"{route.get('source') or route.get('name', '')}" + _service(route)
    elif answer.get("status") == 404:
        yield "rule", "none matched"
    if fallback := hop.get("fallback"):
        yield "fallback", f"{fallback['service']} stood in: {fallback['reason']}"
    for number, attempt in enumerate(hop.get("attempts", []), 1):
        yield f"try {number}", _attempt(attempt)
    yield from _candidates(hop)
    yield from _open_breakers(hop)
    failure = f": {answer['upstream_failure']}" if answer.get("upstream_failure") else ""
    yield "answer", f"{answer.get('status', 0)}{_flags(answer)} ({answer.get('details', '')}){failure}"
    yield "generation", str(hop.get("generation", ""))


def _service(route: Hop) -> str:
    return f", for {route['service']}" if route.get("service") else ""


def _verdict(hop: Hop) -> str:
    """What authorization filters told (Envoy: dynamic metadata of the RBAC filter)."""
    for name, told in hop.get("dynamic", {}).items():
        if "rbac" in name:
            pairs = sorted(told.items()) if isinstance(told, dict) else []
            return ", ".join(f"{key} {value}" for key, value in pairs)
    return ""


def _attempt(attempt: Hop) -> str:
    outcome = attempt.get("failure") or str(attempt.get("status", ""))
    where = attempt.get("endpoint") or "no endpoint"
    times = f"after {attempt.get('began_ms', 0):.1f} ms, took {attempt.get('took_ms', 0):.1f} ms"
    return f"{where} of {attempt.get('cluster', '')}: {outcome} ({times})"


def _candidates(hop: Hop) -> Iterator[tuple[str, str]]:
    shown = hop.get("candidates", [])
    for candidate in shown:
        load = f"{candidate.get('active', 0)} active, {candidate.get('latency_ms', 0):.1f} ms"
        zone = f", zone {candidate['zone']}" if candidate.get("zone") else ""
        yield "endpoint", f"{candidate['endpoint']}: {candidate['health']}, {load}{zone}"
    if (hidden := int(hop.get("endpoints", 0)) - len(shown)) > 0:
        yield "endpoint", f"and {hidden} more"


def _open_breakers(hop: Hop) -> Iterator[tuple[str, str]]:
    for name, held in hop.get("breaker", {}).items():
        if held["in_use"] >= held["most"]:
            yield "breaker", f"{name}: {held['in_use']} of {held['most']}, open"
