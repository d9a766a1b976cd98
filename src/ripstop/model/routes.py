"""HTTPRoute, GRPCRoute, TLSRoute, TCPRoute: the standard channel of the Gateway API, with `retry` and
`sessionPersistence`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from ripstop.model.field_types import (
    Duration,
    ErrorStatus,
    HeaderName,
    Hostname,
    Method,
    ObjectName,
    PositiveDuration,
    regex_fault,
)
from ripstop.model.filters import Filter, filter_issues
from ripstop.model.references import BackendRef, ParentRef
from ripstop.model.spec import Issue, Items, Spec

_ROUTE_PARENTS_MAX, _RULES_MAX, _MATCHES_MAX, _BACKENDS_MAX = 32, 64, 64, 64


class PathMatch(Spec):
    """A path."""

    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    """How `value` is compared; a prefix is compared by path element."""
    value: str = Field(default="/", max_length=1024)
    """The path, or an RE2 expression for the whole path."""

    def issues(self) -> Iterator[Issue]:
        """Paths start with a slash, have no empty or dotted elements; expressions are RE2."""
        if self.type == "RegularExpression":
            if fault := regex_fault(self.value):
                yield Issue(("value",), fault, "use RE2 syntax")
        elif not self.value.startswith("/"):
            yield Issue(("value",), "a path starts with '/'", f"write /{self.value}")
        elif bad := next((b for b in ("//", "/./", "/../", "%2f", "%2F", "#") if b in self.value), ""):
            yield Issue(("value",), f"a path has no {bad!r}", "write the plain path")
        elif self.value.endswith(("/..", "/.")):
            yield Issue(("value",), "a path has no dots for elements", "write the plain path")


class ValueMatch(Spec):
    """A header or a query parameter."""

    type: Literal["Exact", "RegularExpression"] = "Exact"
    """How `value` is compared."""
    name: HeaderName
    """The name; of headers upper and lower case are the same."""
    value: str = Field(max_length=4096)
    """The value, or an RE2 expression for the whole value."""

    def issues(self) -> Iterator[Issue]:
        """Expressions are RE2."""
        if self.type == "RegularExpression" and (fault := regex_fault(self.value)):
            yield Issue(("value",), fault, "use RE2 syntax")


class HttpMatch(Spec):
    """What a request must look like; all that is given must match."""

    path: PathMatch = PathMatch()
    """The path."""
    headers: Items[ValueMatch] = ()
    """Headers that must be there."""
    query_params: Items[ValueMatch] = ()
    """Query parameters that must be there."""
    method: Method | None = None
    """The method."""


class RouteTimeouts(Spec):
    """How long a request may take; 0s means no limit."""

    request: Duration | None = None
    """For the whole request, retries included."""
    backend_request: Duration | None = None
    """For one try."""

    def issues(self) -> Iterator[Issue]:
        """One try takes no longer than all."""
        if self.request and self.backend_request and self.backend_request > self.request:
            yield Issue(
                ("backendRequest",), "one try may take longer than all of them", "lower it to `request`"
            )


class RouteRetry(Spec):
    """When a request is tried again (GEP-1731)."""

    codes: Items[ErrorStatus] = ()
    """Statuses that are tried again, for idempotent methods."""
    attempts: int | None = Field(default=None, ge=0, le=100)
    """Retries after the first try."""
    backoff: PositiveDuration | None = None
    """The least time between tries."""


class CookieConfig(Spec):
    """How long a session's cookie lives."""

    lifetime_type: Literal["Session", "Permanent"] = "Session"
    """Whether the cookie outlives the browser's session."""


class SessionPersistence(Spec):
    """Keeps a client on one endpoint (GEP-1619)."""

    session_name: HeaderName | None = None
    """The name of the cookie or header."""
    absolute_timeout: PositiveDuration | None = None
    """How long a session lasts."""
    idle_timeout: PositiveDuration | None = None
    """How long a session lasts without requests."""
    type: Literal["Cookie", "Header"] = "Cookie"
    """What carries the session."""
    cookie_config: CookieConfig | None = None
    """The cookie's lifetime."""

    def issues(self) -> Iterator[Issue]:
        """A cookie that outlives the browser needs an end."""
        lifetime = self.cookie_config.lifetime_type if self.cookie_config else "Session"
        if lifetime == "Permanent" and self.absolute_timeout is None:
            yield Issue(
                ("absoluteTimeout",), "a permanent cookie needs an absoluteTimeout", "write one, like 24h"
            )


class HttpBackend(BackendRef):
    """A backend, with filters of its own."""

    filters: Items[Filter] = ()
    """What happens to the requests that go to this backend."""

    def issues(self) -> Iterator[Issue]:
        """Filters fit each other."""
        yield from filter_issues(self.filters)


class HttpRule(Spec):
    """One rule: matches, filters, backends."""

    name: ObjectName | None = None
    """The rule's name, unique in the route."""
    matches: Items[HttpMatch] = Field(default=(HttpMatch(),), max_length=_MATCHES_MAX)
    """Any of these must match."""
    filters: Items[Filter] = Field(default=(), max_length=16)
    """What happens to the requests."""
    backend_refs: Items[HttpBackend] = Field(default=(), max_length=_BACKENDS_MAX)
    """Where requests are sent, by weight."""
    timeouts: RouteTimeouts | None = None
    """How long a request may take."""
    retry: RouteRetry | None = None
    """When a request is tried again."""
    session_persistence: SessionPersistence | None = None
    """Keeps a client on one endpoint."""

    def issues(self) -> Iterator[Issue]:
        """Filters fit each other and the matches."""
        yield from filter_issues(self.filters)
        redirects = any(item.type == "RequestRedirect" for item in self.filters)
        if redirects and self.backend_refs:
            yield Issue(("backendRefs",), "a redirected request reaches no backend", "remove backendRefs")
        yield from self._prefix_issues()

    def _prefix_issues(self) -> Iterator[Issue]:
        if all(match.path.type == "PathPrefix" for match in self.matches):
            return
        for index, item in enumerate(self.filters):
            for key, part in (
                ("requestRedirect", item.request_redirect),
                ("urlRewrite", item.url_rewrite),
            ):
                if part and part.path and part.path.type == "ReplacePrefixMatch":
                    at = ("filters", index, key, "path", "type")
                    yield Issue(at, "only a matched prefix can be replaced", "match by PathPrefix alone")


def _name_issues(names: list[str | None]) -> Iterator[Issue]:
    for index, name in enumerate(names):
        if name is not None and name in names[:index]:
            yield Issue(("rules", index, "name"), f"two rules are called {name}", "give each its own name")


class HttpRouteSpec(Spec):
    """Where HTTP requests go."""

    parent_refs: Items[ParentRef] = Field(default=(), max_length=_ROUTE_PARENTS_MAX)
    """The Gateways and Services that this route is for."""
    hostnames: Items[Hostname] = Field(default=(), max_length=16)
    """Hosts that it is for, at a Gateway; a Service as parent has its own."""
    rules: Items[HttpRule] = Field(default=(HttpRule(),), max_length=_RULES_MAX)
    """The rules."""

    def issues(self) -> Iterator[Issue]:
        """Rules' names are unique."""
        yield from _name_issues([rule.name for rule in self.rules])


# --- gRPC ---


class GrpcMethodMatch(Spec):
    """A gRPC method."""

    type: Literal["Exact", "RegularExpression"] = "Exact"
    """How service and method are compared."""
    service: str | None = Field(default=None, max_length=1024)
    """The service, with its package."""
    method: str | None = Field(default=None, max_length=1024)
    """The method."""

    def issues(self) -> Iterator[Issue]:
        """One of the two is given; names have no slash; expressions are RE2."""
        if not self.service and not self.method:
            yield Issue((), "neither service nor method is given", "write one of them")
        for name, value in (("service", self.service), ("method", self.method)):
            if value and self.type == "RegularExpression" and (fault := regex_fault(value)):
                yield Issue((name,), fault, "use RE2 syntax")
            if value and self.type == "Exact" and "/" in value:
                yield Issue((name,), f"a {name} has no '/'", "write the name alone")


class GrpcMatch(Spec):
    """What a call must look like."""

    method: GrpcMethodMatch | None = None
    """The method called."""
    headers: Items[ValueMatch] = ()
    """Headers (metadata) that must be there."""


class GrpcRule(Spec):
    """One rule: matches, filters, backends."""

    name: ObjectName | None = None
    """The rule's name, unique in the route."""
    matches: Items[GrpcMatch] = Field(default=(GrpcMatch(),), max_length=_MATCHES_MAX)
    """Any of these must match."""
    filters: Items[Filter] = Field(default=(), max_length=16)
    """What happens to the calls."""
    backend_refs: Items[HttpBackend] = Field(default=(), max_length=_BACKENDS_MAX)
    """Where calls are sent, by weight."""
    session_persistence: SessionPersistence | None = None
    """Keeps a client on one endpoint."""

    def issues(self) -> Iterator[Issue]:
        """gRPC has no redirects, rewrites or CORS."""
        yield from filter_issues(self.filters)
        for index, item in enumerate(self.filters):
            if item.type in ("RequestRedirect", "URLRewrite", "CORS"):
                yield Issue(("filters", index, "type"), f"gRPC has no {item.type}", "remove it")


class GrpcRouteSpec(Spec):
    """Where gRPC calls go."""

    parent_refs: Items[ParentRef] = Field(default=(), max_length=_ROUTE_PARENTS_MAX)
    """The Gateways and Services that this route is for."""
    hostnames: Items[Hostname] = Field(default=(), max_length=16)
    """Hosts that it is for, at a Gateway."""
    rules: Items[GrpcRule] = Field(default=(GrpcRule(),), max_length=_RULES_MAX)
    """The rules."""

    def issues(self) -> Iterator[Issue]:
        """Rules' names are unique."""
        yield from _name_issues([rule.name for rule in self.rules])


# --- connections ---


class ConnectionRule(Spec):
    """Where connections go."""

    name: ObjectName | None = None
    """The rule's name."""
    backend_refs: Items[BackendRef] = Field(min_length=1, max_length=_BACKENDS_MAX)
    """Where connections are sent, by weight."""


class TlsRouteSpec(Spec):
    """Where TLS connections go, by the name they ask for (SNI)."""

    parent_refs: Items[ParentRef] = Field(default=(), max_length=_ROUTE_PARENTS_MAX)
    """The Gateways and Services that this route is for."""
    hostnames: Items[Hostname] = Field(default=(), max_length=16)
    """Names that clients ask for."""
    rules: Items[ConnectionRule] = Field(min_length=1, max_length=1)
    """One rule."""


class TcpRouteSpec(Spec):
    """Where TCP connections go."""

    parent_refs: Items[ParentRef] = Field(default=(), max_length=_ROUTE_PARENTS_MAX)
    """The Gateways and Services that this route is for."""
    rules: Items[ConnectionRule] = Field(min_length=1, max_length=1)
    """One rule."""
