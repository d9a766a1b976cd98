"""What operators wrote about traffic -> EffectivePolicy: Mesh defaults, then the Service's, then the route's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from ripstop.ids import ServiceId
from ripstop.model.document import Document
from ripstop.model.policies import traffic
from ripstop.model.policies.fault import FaultInjectionSpec
from ripstop.model.policies.rate_limit import RateLimitSpec
from ripstop.model.policy import (
    Algorithm,
    EffectivePolicy,
    Fallback,
    FallbackTrigger,
    Fault,
    HashKey,
    HealthCheck,
    Limits,
    LoadBalancer,
    OutlierDetection,
    RateLimit,
    Retry,
    RetryBudget,
    SessionAffinity,
    Source,
    Timeouts,
)
from ripstop.model.resolve.world import Documents
from ripstop.model.spec import Spec


def with_fields(
    base: EffectivePolicy,
    fields: traffic.TrafficFields,
    document: Document,
    prefix: tuple[str, ...] = ("spec",),
) -> EffectivePolicy:
    """`base` with everything that `fields` set; what they leave out stays."""
    changes: dict[str, Any] = {}
    for name, apply in _APPLY.items():
        part = getattr(fields, name)
        if part is not None:
            field_name, value = apply(base, part, document)
            changes[field_name] = value
    return replace(base, **changes, sources=_sources(base, fields, document, prefix))


def _sources(
    base: EffectivePolicy, fields: traffic.TrafficFields, document: Document, prefix: tuple[str, ...]
) -> tuple[tuple[str, Source], ...]:
    found = dict(base.sources)
    for path in fields.given():
        if not path.startswith("targetRefs"):
            found[path] = document.source(*prefix, *path.split("."))
    return tuple(sorted(found.items()))


def _given(part: Spec, **names: str) -> dict[str, Any]:
    """The fields that were written, under the names they have in the effective policy."""
    return {names.get(name, name): getattr(part, name) for name in part.model_fields_set}


def _balancer(base: EffectivePolicy, part: traffic.LoadBalancerSpec, _: Document) -> tuple[str, Any]:
    values = _given(part, choices="choice_count", panic_threshold="panic_threshold_percent")
    values.pop("hash", None)
    slow = values.pop("slow_start", None)
    if "algorithm" in values:
        values["algorithm"] = Algorithm(values["algorithm"])
        values["hash_keys"] = tuple(_hash_key(key) for key in part.hash)
    if slow is not None:
        values |= {
            "slow_start_s": slow.window,
            "slow_start_aggression": slow.aggression,
            "slow_start_min_percent": slow.min_percent,
        }
    balancer: LoadBalancer = replace(base.load_balancer, **values)
    return "load_balancer", balancer


def _hash_key(key: traffic.HashKeySpec) -> HashKey:
    if key.header:
        return HashKey(kind="header", name=key.header, terminal=key.terminal)
    if key.cookie:
        return HashKey(kind="cookie", name=key.cookie, ttl_s=key.ttl, terminal=key.terminal)
    if key.query_parameter:
        return HashKey(kind="queryParameter", name=key.query_parameter, terminal=key.terminal)
    return HashKey(kind="sourceIp", terminal=key.terminal)


def _limits(base: EffectivePolicy, part: traffic.LimitsSpec, _: Document) -> tuple[str, Limits]:
    return "limits", replace(base.limits, **_given(part))


_OUTLIER_NAMES = {
    "interval": "interval_s",
    "base_ejection": "base_ejection_s",
    "max_ejection": "max_ejection_s",
}


def _outlier(
    base: EffectivePolicy, part: traffic.OutlierSpec, _: Document
) -> tuple[str, OutlierDetection | None]:
    values = _given(part, **_OUTLIER_NAMES)
    if not values.pop("enabled", True):
        return "outlier", None
    return "outlier", replace(base.outlier or OutlierDetection(), **values)


def _retry(base: EffectivePolicy, part: traffic.RetrySpec, _: Document) -> tuple[str, Retry | None]:
    values = _given(part, on_timeout="retry_on_timeout")
    if not values.pop("enabled", True):
        return "retry", None
    methods, backoff = values.pop("methods", None), values.pop("backoff", None)
    if methods is not None:
        values["all_methods"] = methods == "All"
    if backoff is not None:
        values |= {"backoff_base_s": backoff.base, "backoff_max_s": backoff.max}
    return "retry", replace(base.retry or Retry(), **values)


def _budget(base: EffectivePolicy, part: traffic.BudgetSpec, _: Document) -> tuple[str, RetryBudget]:
    return "budget", replace(base.budget, **_given(part))


def _timeouts(base: EffectivePolicy, part: traffic.TimeoutsSpec, _: Document) -> tuple[str, Timeouts]:
    values = {f"{name}_s": getattr(part, name) for name in part.model_fields_set}
    return "timeouts", replace(base.timeouts, **values)


def _checks(
    _: EffectivePolicy, part: tuple[traffic.HealthCheckSpec, ...], __: Document
) -> tuple[str, tuple[HealthCheck, ...]]:
    return "health_checks", tuple(_check(check) for check in part)


def _check(check: traffic.HealthCheckSpec) -> HealthCheck:
    times = {
        "interval_s": check.interval,
        "timeout_s": check.timeout,
        "unhealthy_threshold": check.unhealthy_threshold,
        "healthy_threshold": check.healthy_threshold,
    }
    if check.http:
        codes = check.http.expected_statuses
        return HealthCheck(
            kind="http", path=check.http.path, host=check.http.host, expected_codes=codes, **_any(times)
        )
    if check.grpc:
        return HealthCheck(kind="grpc", grpc_service=check.grpc.service, **_any(times))
    return HealthCheck(kind="tcp", **_any(times))


def _any(values: dict[str, float]) -> dict[str, Any]:
    return dict(values)


def _affinity(
    _: EffectivePolicy, part: traffic.AffinitySpec, document: Document
) -> tuple[str, SessionAffinity]:
    if part.cookie:
        ttl = part.cookie.ttl
        made = SessionAffinity(
            name=part.cookie.name, absolute_timeout_s=ttl, is_permanent=bool(ttl), path=part.cookie.path
        )
    else:
        assert part.header is not None
        made = SessionAffinity(kind="Header", name=part.header.name)
    return "session", made


def _fallbacks(
    _: EffectivePolicy, part: tuple[traffic.FallbackSpec, ...], document: Document
) -> tuple[str, tuple[Fallback, ...]]:
    return "fallbacks", tuple(
        Fallback(
            service=ServiceId.parse(hop.service, document.namespace or "default"),
            port=hop.port,
            triggers=frozenset(FallbackTrigger(word) for word in hop.on),
            statuses=hop.statuses,
        )
        for hop in part
    )


_APPLY: dict[str, Any] = {
    "load_balancer": _balancer,
    "limits": _limits,
    "outlier_detection": _outlier,
    "retry": _retry,
    "retry_budget": _budget,
    "timeouts": _timeouts,
    "health_checks": _checks,
    "session_affinity": _affinity,
    "fallback": _fallbacks,
}


# --- which policies hold for what ---


def _targets(
    documents: Iterable[Document], kind: str, namespace: str, name: str, section: str | None
) -> Iterator[Document]:
    for document in documents:
        if document.namespace != namespace:
            continue
        for ref in document.spec.target_refs:
            wanted = getattr(ref, "section_name", None)
            if (ref.kind, ref.name) == (kind, name) and wanted == section:
                yield document


def service_policy(documents: Documents, service: ServiceId, defaults: EffectivePolicy) -> EffectivePolicy:
    """What holds for calls to a service."""
    policy = defaults
    for document in _targets(documents.of_kind("TrafficPolicy"), "Service", *service, None):
        policy = with_fields(policy, document.spec, document)
    for document in _targets(documents.of_kind("FaultInjection"), "Service", *service, None):
        policy = replace(policy, fault=_fault(document))
    limits = tuple(_limit(d) for d in _targets(documents.of_kind("RateLimit"), "Service", *service, None))
    return replace(policy, rate_limits=limits) if limits else policy


def rule_policy(
    documents: Documents, route: Document, rule_name: str | None, base: EffectivePolicy
) -> EffectivePolicy | None:
    """What policies that target a route, or one rule of it by name, make of `base`; None when there are none."""
    policy, found = base, False
    for section in (None, rule_name) if rule_name else (None,):
        where = (route.kind, route.namespace, route.name, section)
        for document in _targets(documents.of_kind("TrafficPolicy"), *where):
            policy, found = with_fields(policy, document.spec, document), True
        for document in _targets(documents.of_kind("FaultInjection"), *where):
            policy, found = replace(policy, fault=_fault(document)), True
    return policy if found else None


def _fault(document: Document) -> Fault:
    spec: FaultInjectionSpec = document.spec
    delay, abort = spec.delay, spec.abort
    return Fault(
        delay_s=delay.duration if delay else 0.0,
        delay_percent=delay.percent if delay else 0.0,
        abort_status=abort.status if abort else None,
        abort_grpc_status=abort.grpc_status if abort else None,
        abort_percent=abort.percent if abort else 0.0,
        headers=tuple((header.name.lower(), header.value) for header in spec.headers),
        source=document.source("spec"),
    )


def _limit(document: Document) -> RateLimit:
    spec: RateLimitSpec = document.spec
    return RateLimit(
        requests=spec.requests,
        per_s=spec.per,
        burst=spec.burst,
        status=spec.status,
        source=document.source("spec"),
    )
