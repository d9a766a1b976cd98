"""One rule of an HTTPRoute or GRPCRoute -> HttpRules, one for each match; and their order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ripstop.model import routes as written
from ripstop.model.document import Document
from ripstop.model.filters import Filter, HeaderModifier, PathModifier
from ripstop.model.policy import EffectivePolicy, Retry, SessionAffinity, Timeouts
from ripstop.model.resolve.policies import rule_policy
from ripstop.model.resolve.world import References
from ripstop.model.topology import (
    Backend,
    Cors,
    Filters,
    HeaderChange,
    HttpMatch,
    HttpRule,
    Mirror,
    PathChange,
    Redirect,
    Rewrite,
    ValueMatch,
)


@dataclass(frozen=True, slots=True)
class RuleMaker:
    """Makes rules of routes; `references` says what their backends are."""

    references: References

    def rules(self, route: Document, base: EffectivePolicy | None = None) -> list[HttpRule]:
        """All rules of a route. `base` is the policy that policies for the route build on."""
        made: list[HttpRule] = []
        for index, rule in enumerate(route.spec.rules):
            made += self._rule(route, index, rule, base)
        return made

    def _rule(
        self, route: Document, index: int, rule: Any, base: EffectivePolicy | None
    ) -> Iterator[HttpRule]:
        backends = tuple(self._backend(route, ref) for ref in rule.backend_refs)
        base = base or self._policy_of(backends)
        policy = rule_policy(self.references.documents, route, rule.name, base)
        is_grpc = route.kind == "GRPCRoute"
        common: dict[str, Any] = {
            "filters": self._filters(route, rule.filters),
            "backends": backends,
            "session": _session(rule.session_persistence),
            "policy": policy,
            "is_grpc": is_grpc,
        }
        if not is_grpc:
            effective = policy or base
            common["timeouts"] = _timeouts(rule.timeouts, effective.timeouts)
            common["retry"] = _retry(rule.retry, effective.retry)
        prefix = f"{route.kind}/{route.namespace}/{route.name}/{rule.name or index}"
        for number, match in enumerate(rule.matches or _match_all(is_grpc)):
            source = route.source("spec", "rules", index, "matches", number)
            wanted = _grpc_match(match) if is_grpc else _http_match(match)
            yield HttpRule(name=f"{prefix}/{number}", source=source, match=wanted, **common)

    def _policy_of(self, backends: tuple[Backend, ...]) -> EffectivePolicy:
        for backend in backends:
            service = self.references.services.get(backend.service) if backend.service else None
            if service and not backend.invalid:
                return service.policy
        return EffectivePolicy()

    def _backend(self, route: Document, ref: written.HttpBackend) -> Backend:
        service, port, reason = self.references.backend(route, ref, ref.port)
        filters = self._filters(route, ref.filters)
        return Backend(service=service, port=port, weight=ref.weight, filters=filters, invalid=reason)

    def _filters(self, route: Document, filters: tuple[Filter, ...]) -> Filters:
        values: dict[str, Any] = {}
        mirrors: list[Mirror] = []
        for item in filters:
            if item.request_header_modifier:
                values["request_headers"] = _headers(item.request_header_modifier)
            elif item.response_header_modifier:
                values["response_headers"] = _headers(item.response_header_modifier)
            elif item.request_mirror:
                mirrors.append(self._mirror(route, item))
            elif item.request_redirect:
                values["redirect"] = _redirect(item)
            elif item.url_rewrite:
                rewrite = item.url_rewrite
                values["rewrite"] = Rewrite(hostname=rewrite.hostname or "", path=_path(rewrite.path))
            elif item.cors:
                values["cors"] = _cors(item)
        return Filters(mirrors=tuple(mirrors), **values)

    def _mirror(self, route: Document, item: Filter) -> Mirror:
        mirror = item.request_mirror
        assert mirror is not None
        service, port, reason = self.references.backend(route, mirror.backend_ref, mirror.backend_ref.port)
        backend = Backend(service=service, port=port, invalid=reason)
        if mirror.fraction:
            shares = (mirror.fraction.numerator, mirror.fraction.denominator)
        else:
            shares = (100 if mirror.percent is None else mirror.percent, 100)
        return Mirror(backend=backend, numerator=shares[0], denominator=shares[1])


def _match_all(is_grpc: bool) -> tuple[Any, ...]:
    return (written.GrpcMatch(),) if is_grpc else (written.HttpMatch(),)


# --- matches ---


_PATH_KINDS = {"Exact": "exact", "PathPrefix": "prefix", "RegularExpression": "regex"}


def _http_match(match: written.HttpMatch) -> HttpMatch:
    return HttpMatch(
        path_kind=_PATH_KINDS[match.path.type],
        path=match.path.value,
        method=match.method or "",
        headers=_values(match.headers, is_header=True),
        query=_values(match.query_params, is_header=False),
    )


def _values(matches: tuple[written.ValueMatch, ...], *, is_header: bool) -> tuple[ValueMatch, ...]:
    """Of two matches with one name the first counts (Gateway API, HTTPHeaderMatch.name)."""
    found: dict[str, ValueMatch] = {}
    for match in matches:
        name = match.name.lower() if is_header else match.name
        kind = "exact" if match.type == "Exact" else "regex"
        found.setdefault(name, ValueMatch(name=name, value=match.value, kind=kind))
    return tuple(found.values())


def _grpc_match(match: written.GrpcMatch) -> HttpMatch:
    """A method is the path ``/package.Service/Method`` (gRPC over HTTP/2, "Requests")."""
    headers = _values(match.headers, is_header=True)
    method = match.method
    if method is None:
        return HttpMatch(headers=headers)
    if method.type == "Exact" and method.service:
        kind = "exact" if method.method else "prefix"
        return HttpMatch(
            path_kind=kind, path=f"/{method.service}/{method.method or ''}".rstrip("/"), headers=headers
        )
    escape = re.escape if method.type == "Exact" else str
    service = escape(method.service) if method.service else "[^/]+"
    name = escape(method.method) if method.method else "[^/]+"
    return HttpMatch(path_kind="regex", path=f"/{service}/{name}", headers=headers)


# --- filters ---


def _headers(modifier: HeaderModifier) -> HeaderChange:
    return HeaderChange(
        set=tuple((h.name, h.value) for h in modifier.set),
        add=tuple((h.name, h.value) for h in modifier.add),
        remove=modifier.remove,
    )


def _path(modifier: PathModifier | None) -> PathChange | None:
    return PathChange(kind=modifier.type, value=modifier.value) if modifier else None


def _redirect(item: Filter) -> Redirect:
    redirect = item.request_redirect
    assert redirect is not None
    return Redirect(
        scheme=redirect.scheme or "",
        hostname=redirect.hostname or "",
        port=redirect.port or 0,
        path=_path(redirect.path),
        status=redirect.status_code,
    )


def _cors(item: Filter) -> Cors:
    cors = item.cors
    assert cors is not None
    return Cors(
        allow_origins=cors.allow_origins,
        allow_methods=cors.allow_methods,
        allow_headers=cors.allow_headers,
        expose_headers=cors.expose_headers,
        allow_credentials=cors.allow_credentials,
        max_age_s=cors.max_age,
    )


# --- timeouts, retries, sessions ---


def _timeouts(given: written.RouteTimeouts | None, base: Timeouts) -> Timeouts | None:
    if given is None:
        return None
    changes: dict[str, float] = {}
    if given.request is not None:
        changes["request_s"] = given.request
    if given.backend_request is not None:
        changes["backend_request_s"] = given.backend_request
    return replace(base, **changes)


def _retry(given: written.RouteRetry | None, base: Retry | None) -> Retry | None:
    if given is None:
        return None
    made = replace(base or Retry(), codes=given.codes)
    if given.attempts is not None:
        made = replace(made, attempts=given.attempts)
    if given.backoff is not None:
        made = replace(
            made, backoff_base_s=given.backoff, backoff_max_s=max(given.backoff * 10, made.backoff_max_s)
        )
    return made


def _session(given: written.SessionPersistence | None) -> SessionAffinity | None:
    if given is None:
        return None
    lifetime = given.cookie_config.lifetime_type if given.cookie_config else "Session"
    return SessionAffinity(
        kind=given.type,
        name=given.session_name or "ripstop-session",
        absolute_timeout_s=given.absolute_timeout,
        idle_timeout_s=given.idle_timeout,
        is_permanent=lifetime == "Permanent",
    )


# --- order ---


_KIND_RANK = {"exact": 0, "regex": 1, "prefix": 2}


@dataclass(frozen=True, slots=True)
class Placed:
    """A rule and the route it is of."""

    route: Document
    rule: HttpRule
    index: int


def in_order(placed: Iterable[Placed]) -> tuple[HttpRule, ...]:
    """Rules in the order they are tried: exact path, regular expression, longest prefix, method, most headers, most
    query parameters; then the older route, then by name, then as written (Gateway API, HTTPRouteRule.matches)."""
    return tuple(item.rule for item in sorted(placed, key=_precedence))


def _precedence(item: Placed) -> tuple[object, ...]:
    match, route = item.rule.match, item.route
    return (
        _KIND_RANK[match.path_kind],
        -len(match.path),
        not match.method,
        -len(match.headers),
        -len(match.query),
        route.metadata.creation_timestamp or "",
        route.created_at,
        f"{route.namespace}/{route.name}",
        item.index,
    )
