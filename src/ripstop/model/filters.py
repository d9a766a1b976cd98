"""Filters of routes: what happens to a request or an answer on its way (Gateway API HTTPRouteFilter)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from ripstop.model.field_types import (
    AbsolutePath,
    Count,
    HeaderName,
    HeaderValue,
    Method,
    Port,
    PreciseHostname,
)
from ripstop.model.references import ObjectRef
from ripstop.model.spec import Issue, Items, Spec


class Header(Spec):
    """A header and its value."""

    name: HeaderName
    """The header's name; upper and lower case are the same."""
    value: HeaderValue
    """The value."""


class HeaderModifier(Spec):
    """Changes to headers."""

    set: Items[Header] = ()
    """Headers that replace those of the same name."""
    add: Items[Header] = ()
    """Headers that are added to those of the same name."""
    remove: Items[HeaderName] = ()
    """Headers that are taken away."""


class PathModifier(Spec):
    """A new path."""

    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"]
    """Whether the whole path is replaced, or the prefix that the rule matched."""
    replace_full_path: AbsolutePath | None = None
    """The new path."""
    replace_prefix_match: str | None = Field(default=None, max_length=1024)
    """What stands in for the matched prefix."""

    def issues(self) -> Iterator[Issue]:
        """The field that `type` names is given, and no other."""
        wanted, other = "replaceFullPath", "replacePrefixMatch"
        values = (self.replace_full_path, self.replace_prefix_match)
        if self.type == "ReplacePrefixMatch":
            wanted, other, values = other, wanted, values[::-1]
        if values[0] is None:
            yield Issue((), f"the type {self.type} needs {wanted}", f"write {wanted}: ...")
        if values[1] is not None:
            yield Issue((other,), f"{other} does not go with the type {self.type}", "remove it")

    @property
    def value(self) -> str:
        """The replacement."""
        return (self.replace_full_path or self.replace_prefix_match) or ""


class Fraction(Spec):
    """A share of requests."""

    numerator: int = Field(ge=0)
    """Requests of each `denominator`."""
    denominator: Count = 100
    """Of how many."""

    def issues(self) -> Iterator[Issue]:
        """A share is at most the whole."""
        if self.numerator > self.denominator:
            yield Issue(
                ("numerator",), "the share is more than the whole", f"write at most {self.denominator}"
            )


class MirrorBackend(ObjectRef):
    """Where copies are sent."""

    port: Port | None = None
    """The Service's port."""


class RequestMirror(Spec):
    """Copies requests; their answers are thrown away."""

    backend_ref: MirrorBackend
    """Where copies are sent."""
    percent: int | None = Field(default=None, ge=0, le=100)
    """Percent of requests that are copied; all when left out."""
    fraction: Fraction | None = None
    """The same as a fraction."""

    def issues(self) -> Iterator[Issue]:
        """One way of saying how many."""
        if self.percent is not None and self.fraction is not None:
            yield Issue(("percent",), "percent and fraction say the same thing", "keep one of them")


class RequestRedirect(Spec):
    """Answers with a redirect."""

    scheme: Literal["http", "https"] | None = None
    """The scheme of the new location."""
    hostname: PreciseHostname | None = None
    """The host of the new location."""
    path: PathModifier | None = None
    """The path of the new location."""
    port: Port | None = None
    """The port of the new location."""
    status_code: Literal[301, 302, 303, 307, 308] = 302
    """The status."""


class UrlRewrite(Spec):
    """Changes what the backend sees."""

    hostname: PreciseHostname | None = None
    """The Host that the backend sees."""
    path: PathModifier | None = None
    """The path that the backend sees."""


class CorsFilter(Spec):
    """Cross-origin requests, answered by the proxy."""

    allow_origins: Items[str] = ()
    """Origins that may ask, like `https://shop.example.com` or `https://*.example.com`."""
    allow_methods: Items[Method | Literal["*"]] = ()
    """Methods that they may use."""
    allow_headers: Items[str] = ()
    """Headers that they may send."""
    expose_headers: Items[str] = ()
    """Headers that they may read."""
    allow_credentials: bool = False
    """Whether cookies and credentials may be sent."""
    max_age: int = Field(default=5, ge=1)
    """Seconds for which a preflight's answer holds."""


_FIELD_OF = {
    "RequestHeaderModifier": "request_header_modifier",
    "ResponseHeaderModifier": "response_header_modifier",
    "RequestMirror": "request_mirror",
    "RequestRedirect": "request_redirect",
    "URLRewrite": "url_rewrite",
    "CORS": "cors",
}


class Filter(Spec):
    """One filter; the field that carries it is named by its type."""

    type: Literal[
        "RequestHeaderModifier",
        "ResponseHeaderModifier",
        "RequestMirror",
        "RequestRedirect",
        "URLRewrite",
        "CORS",
    ]
    """Which filter this is."""
    request_header_modifier: HeaderModifier | None = None
    """Changes to the request's headers."""
    response_header_modifier: HeaderModifier | None = None
    """Changes to the answer's headers."""
    request_mirror: RequestMirror | None = None
    """Copies of the request."""
    request_redirect: RequestRedirect | None = None
    """A redirect."""
    url_rewrite: UrlRewrite | None = None
    """Changes of host and path."""
    cors: CorsFilter | None = None
    """Cross-origin requests."""

    def issues(self) -> Iterator[Issue]:
        """The field that `type` names is given, and no other."""
        for kind, name in _FIELD_OF.items():
            alias = type(self).model_fields[name].alias or name
            given = getattr(self, name) is not None
            if given and kind != self.type:
                yield Issue((alias,), f"{alias} does not go with the type {self.type}", "remove it")
            if not given and kind == self.type:
                yield Issue((), f"the type {self.type} needs {alias}", f"write {alias}: ...")


def filter_issues(filters: tuple[Filter, ...]) -> Iterator[Issue]:
    """What may not stand together in one list of filters."""
    kinds = [item.type for item in filters]
    for index, kind in enumerate(kinds):
        if kind != "RequestMirror" and kind in kinds[:index]:
            yield Issue(("filters", index, "type"), f"{kind} is given twice", "put both into one filter")
    if "RequestRedirect" in kinds and "URLRewrite" in kinds:
        at = ("filters", kinds.index("URLRewrite"), "type")
        yield Issue(at, "a redirected request is not rewritten", "keep RequestRedirect or URLRewrite")
