"""A `_core.Match` in words, each step with the document line that it is by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ripstop import _core
from ripstop.ids import ServiceId
from ripstop.model.policy import Authorization, AuthorizationRule, EffectivePolicy, Source
from ripstop.model.topology import HttpRule, Topology
from ripstop.model.workload import Registration
from ripstop.xds import names

HOPELESS = ("no-route", "connect/")
"""Routes that stand at the end for everything that is left, and for CONNECT: passed over without a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One decision. `kind`: host, passed_over, route, filter, rules, policy, cluster, endpoint, answer. `source` is
    ``file:line path`` where a document says so, `details` the same as data."""

    kind: str
    text: str
    source: str = ""
    details: dict[str, Any] = field(default_factory=dict)


def steps_of(topology: Topology, node: Registration, found: _core.Match) -> Iterator[Step]:
    """The steps of one data plane, in the order in which it takes them."""
    yield from _host(topology, found)
    for rules in found.connection_rules:
        yield from _rules(topology, node, rules)
    yield from _routes(found)
    for item in found.filters:
        yield from _filter(topology, node, item)
    if found.forward is not None and found.forward.is_known:
        yield from _forward(topology, found)
    if found.outcome not in ("forwarded", "tunnelled"):
        place = f" to {found.location}" if found.location else ""
        answer = f"{found.status}{place} ({found.details})" if found.status else f"closed ({found.details})"
        yield Step(kind="answer", text=answer, details={"status": found.status, "details": found.details})


def _source(source: Source | None) -> str:
    return str(source) if source else ""


# --- where to ---


def _host(topology: Topology, found: _core.Match) -> Iterator[Step]:
    if found.scope is None:
        if found.route_configuration and names.parse_inbound(found.route_configuration) is None:
            host = (
                f"virtual host {found.virtual_host}" if found.virtual_host else "no virtual host of that name"
            )
            yield Step(kind="host", text=f"listener {found.listener}, {host}")
        return
    service = names.parse_outbound_routes(found.route_configuration or "")
    if service is None:
        yield Step(kind="host", text=f"nothing in the mesh is called {found.scope}")
        return
    known = topology.services.get(service)
    port = f", virtual host {found.virtual_host}" if found.virtual_host else ", but not at this port"
    text = f"{found.scope} is {service}{port}"
    yield Step(kind="host", text=text, source=_source(known.source if known else None))


def _routes(found: _core.Match) -> Iterator[Step]:
    taken = next((candidate.name for candidate in found.candidates if candidate.index == found.route), "")
    # One rule is several routes, which differ in what may be repeated: only its own misses are told, and once.
    told: set[tuple[str, str]] = set()
    for candidate in found.candidates:
        if candidate.miss is None:
            if candidate.index == found.route:
                yield _route(candidate)
                return
            continue
        why = words(candidate.miss)
        is_news = candidate.name != taken and (candidate.name, why) not in told
        if is_news and not candidate.name.startswith(HOPELESS):
            told.add((candidate.name, why))
            yield Step(
                kind="passed_over",
                text=f"{candidate.name}: {why}",
                source=_line(candidate),
                details=candidate.as_dict(),
            )


def _route(candidate: _core.Route) -> Step:
    name = candidate.name
    if name == "no-route":
        name = "no route matches"
    elif name.startswith("default/"):
        name = "the service has no routes: all goes to itself"
    port = names.parse_inbound(candidate.target)
    text = f"to the application's port {port}" if port else f"{name} → {candidate.target}"
    return Step(kind="route", text=text, source=_line(candidate), details=candidate.as_dict())


def _line(candidate: _core.Route) -> str:
    source = str(candidate.metadata.get("ripstop", {}).get("source", ""))
    return "" if source.startswith(":") else source  # of a service that no document names


def words(miss: _core.Unmet) -> str:
    """``header x-user is "7", not "8"``."""
    what = f"{miss.part} {miss.name}".rstrip()
    if miss.found is None:
        return f"{what} is not there, wanted {miss.wanted}"
    return f'{what} is "{miss.found}", wanted {miss.wanted}'


# --- filters and rules ---


def _filter(topology: Topology, node: Registration, item: _core.Filter) -> Iterator[Step]:
    if not item.is_on:
        return
    if not item.rules:
        yield Step(kind="filter", text=f"{item.kind}: {item.does}", details=item.as_dict())
    for rules in item.rules:
        if not item.name.startswith("ripstop.rbac.told"):  # the same rules, for the denial's words
            yield from _rules(topology, node, rules)


def _rules(topology: Topology, node: Registration, rules: _core.Rules) -> Iterator[Step]:
    if rules.policy is not None:
        done = {(True, False): "allows it", (False, False): "denies it", (True, True): "would allow it"}
        verdict = done.get((rules.allowed, rules.is_shadow), "would deny it")
        rule = _rule(topology, node, rules.policy, rules.rule)
        yield Step(
            kind="rules",
            text=f"AuthorizationPolicy {rules.policy} {verdict}{_number(rules.rule)}",
            source=_rule_line(topology, node, rules.policy, rule),
            details=rules.as_dict(),
        )
    elif not rules.allowed:
        yield Step(kind="rules", text="no AuthorizationPolicy allows it", details=rules.as_dict())
        if rules.closest is not None:
            near = rules.closest
            why = "; ".join(words(unmet) for unmet in near.unmet)
            rule = _rule(topology, node, near.policy, near.rule)
            yield Step(
                kind="rules",
                text=f"closest: AuthorizationPolicy {near.policy}{_number(near.rule)}: {why}",
                source=_rule_line(topology, node, near.policy, rule),
                details=near.as_dict(),
            )


def _number(rule: int | None) -> str:
    return "" if rule is None else f" (rule {rule})"


def _policy(topology: Topology, node: Registration, name: str) -> Authorization | None:
    service = topology.services.get(node.node.service_id)
    held = service.authorizations if service else ()
    return next((a for a in held if f"{a.namespace}/{a.name}" == name), None)


def _rule(topology: Topology, node: Registration, policy: str, index: int | None) -> AuthorizationRule | None:
    """The rule of the document: those for other ports are left out of what a data plane is sent."""
    authorization = _policy(topology, node, policy)
    service = topology.services.get(node.node.service_id)
    if authorization is None or service is None or index is None:
        return None
    ports = {node.app_port, *(p.port for p in service.ports)}
    kept = [rule for rule in authorization.rules if not rule.ports or ports.intersection(rule.ports)]
    return kept[index] if index < len(kept) else None


def _rule_line(topology: Topology, node: Registration, policy: str, rule: AuthorizationRule | None) -> str:
    if rule is not None and rule.source is not None:
        return _source(rule.source)
    found = _policy(topology, node, policy)
    return _source(found.source if found else None)


# --- how it is sent ---


def _forward(topology: Topology, found: _core.Match) -> Iterator[Step]:
    forward = found.forward
    assert forward is not None, "checked by the caller"
    yield Step(
        kind="cluster",
        text=f"{forward.method} {forward.authority}{forward.path} to {forward.cluster}",
        details=forward.as_dict(),
    )
    held = _holds(topology, found)
    if held is None:
        return
    policy, rule = held
    if forward.timeout_s:
        is_own = rule is not None and rule.timeouts not in (None, policy.timeouts)
        line = _line_of(policy, "timeouts", rule if is_own else None)
        yield Step(kind="policy", text=f"at most {forward.timeout_s:g} s", source=line)
    if forward.retry is not None:
        is_own = rule is not None and rule.retry not in (None, policy.retry)
        line = _line_of(policy, "retry", rule if is_own else None)
        on = ", ".join([*forward.retry.on, *map(str, forward.retry.statuses)])
        times = "once" if forward.retry.num_retries == 1 else f"{forward.retry.num_retries} times"
        yield Step(kind="policy", text=f"repeated at most {times} on {on}", source=line)
    for hop in forward.fallbacks:
        line = _line_of(policy, "fallback", None)
        yield Step(kind="policy", text=f"else {hop.service}, on {', '.join(hop.on)}", source=line)
    for name, share in forward.mirrors:
        text = f"{share:g} % are copied to {name}"
        yield Step(kind="policy", text=text, source=str(rule.source) if rule else "")


def _holds(topology: Topology, found: _core.Match) -> tuple[EffectivePolicy, HttpRule | None] | None:
    """The policy of the rule that matched, else of the service called, and the rule; None at the callee.

    At a gateway the service called is the one behind the rule.
    """
    name = next((c.name for c in found.candidates if c.index == found.route), "")
    own = next((rule for rule in _all_rules(topology) if rule.name == name), None)
    service = names.parse_outbound_routes(found.route_configuration or "")
    cluster = names.parse_cluster(found.forward.cluster) if found.forward else None
    known = topology.services.get(service or (cluster.service if cluster else ServiceId("", "")))
    if known is None:
        return None
    return (own.policy if own and own.policy else known.policy), own


def _all_rules(topology: Topology) -> Iterator[HttpRule]:
    for routes in topology.routes:
        yield from routes.http or ()
    for gateway in topology.gateways.values():
        for listener in gateway.listeners:
            for host in listener.virtual_hosts:
                yield from host.rules


def _line_of(policy: EffectivePolicy, part: str, rule: HttpRule | None) -> str:
    """The line that set a part of a policy: the rule's own, a policy document's, else it is the default."""
    if rule is not None:
        return str(rule.source)
    found = next((source for name, source in policy.sources if name.partition(".")[0] == part), None)
    return str(found) if found else "default"
