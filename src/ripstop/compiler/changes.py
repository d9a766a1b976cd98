"""Filters -> what a route changes: headers, paths, hosts, redirects, copies, CORS."""

from __future__ import annotations

import re
from collections.abc import Callable

from ripstop.compiler.extension import always
from ripstop.model.topology import Backend, Cors, HeaderChange, HttpMatch, Mirror, PathChange, Redirect
from ripstop.xds import pb

_REDIRECTS = {301: "MOVED_PERMANENTLY", 302: "FOUND", 303: "SEE_OTHER", 307: "TEMPORARY_REDIRECT"}
_WELL_KNOWN = {"http": 80, "https": 443}


def header_changes(made: pb.Message, request: HeaderChange | None, response: HeaderChange | None) -> None:
    """Fill `{request,response}_headers_to_{add,remove}` of a Route or a weighted cluster."""
    for kind, change in (("request", request), ("response", response)):
        if change is None:
            continue
        getattr(made, f"{kind}_headers_to_add").extend(_added(change))
        removed = [name for name in change.remove if name.lower() != "host"]
        getattr(made, f"{kind}_headers_to_remove").extend(removed)


def _added(change: HeaderChange) -> list[pb.Message]:
    """Set replaces, add appends. Host is not among them: Envoy rewrites it by its own field (`host_of`)."""
    kind = pb.HeaderValueOption
    pairs = [(pair, kind.OVERWRITE_IF_EXISTS_OR_ADD) for pair in change.set if pair[0].lower() != "host"]
    pairs += [(pair, kind.APPEND_IF_EXISTS_OR_ADD) for pair in change.add]
    return [
        kind(header={"key": name, "value": literal(value)}, append_action=action, keep_empty_value=True)
        for (name, value), action in pairs
    ]


def host_of(change: HeaderChange | None) -> str:
    """The Host that a header modifier sets, if it does."""
    pairs = change.set if change else ()
    return next((value for name, value in pairs if name.lower() == "host"), "")


def literal(value: str) -> str:
    """`value` where Envoy would read command operators: a percent sign is doubled."""
    return value.replace("%", "%%")


# --- paths ---


def rewrite_path(action: pb.Message, change: PathChange, match: HttpMatch) -> None:
    """Fill `prefix_rewrite` or `regex_rewrite` of a RouteAction; queries are kept."""
    if change.kind == "ReplaceFullPath":
        _regex(action, "^/.*$", change.value)
    else:
        _replace_prefix(action, change, match)


def _replace_prefix(action: pb.Message, change: PathChange, match: HttpMatch) -> None:
    """ReplacePrefixMatch: the elements matched give way to others, and never leave two slashes or none.

    ``prefix_rewrite`` works on characters, so a prefix or a replacement of ``/`` needs a regular expression.
    """
    old, new = match.path.rstrip("/"), change.value.rstrip("/")
    if old and new:
        action.prefix_rewrite = new
    elif old:
        _regex(action, f"^{re.escape(old)}/?", "/")
    elif new:
        _regex(action, "^/", new + "/")


def _regex(action: pb.Message, pattern: str, substitution: str) -> None:
    action.regex_rewrite.pattern.regex = pattern
    action.regex_rewrite.substitution = substitution.replace("\\", "\\\\")


# --- redirects ---


def redirect_action(
    redirect: Redirect, match: HttpMatch, *, scheme: str, port: int, hostname: str
) -> pb.Message:
    """A `RedirectAction` for a listener of `scheme` on `port`; `hostname` is the virtual host's, when it is one name."""
    action = pb.RedirectAction(
        response_code=_REDIRECTS.get(redirect.status, "PERMANENT_REDIRECT"), host_redirect=redirect.hostname
    )
    if redirect.scheme:
        action.scheme_redirect = redirect.scheme
    target = _target_port(redirect, scheme, port)
    action.port_redirect = target
    if not target and not action.host_redirect:
        # Without a host Envoy would repeat the request's, with a port that must be left out.
        action.host_redirect = hostname
    if redirect.path is not None:
        _redirect_path(action, redirect.path, match)
    return action


def _target_port(redirect: Redirect, scheme: str, port: int) -> int:
    """The port in Location: 0 leaves it out. Gateway API, HTTPRequestRedirectFilter.port."""
    target = redirect.port or (_WELL_KNOWN.get(redirect.scheme, 0) if redirect.scheme else port)
    return 0 if target == _WELL_KNOWN.get(redirect.scheme or scheme) else target


def _redirect_path(action: pb.Message, change: PathChange, match: HttpMatch) -> None:
    if change.kind == "ReplaceFullPath":
        action.path_redirect = change.value
    else:
        _replace_prefix(action, change, match)


# --- copies, CORS ---


def mirror_policies(mirrors: tuple[Mirror, ...], cluster_of: Callable[[Backend], str]) -> list[pb.Message]:
    """`request_mirror_policies`; a copy to a backend that cannot be used is not made."""
    return [
        pb.RouteAction.RequestMirrorPolicy(cluster=cluster, runtime_fraction=_fraction(mirror))
        for mirror in mirrors
        if (cluster := cluster_of(mirror.backend))
    ]


def _fraction(mirror: Mirror) -> pb.Message:
    """Envoy counts in millionths."""
    share = pb.FractionalPercent(
        numerator=round(mirror.numerator * 1_000_000 / mirror.denominator),
        denominator=pb.FractionalPercent.MILLION,
    )
    return pb.RuntimeFractionalPercent(default_value=share)


def cors_policy(cors: Cors) -> pb.Message:
    """A `CorsPolicy`: preflights are answered by the proxy."""
    return pb.CorsPolicy(
        allow_origin_string_match=[_origin(origin) for origin in cors.allow_origins],
        allow_methods=", ".join(cors.allow_methods),
        allow_headers=", ".join(cors.allow_headers),
        expose_headers=", ".join(cors.expose_headers),
        max_age=str(cors.max_age_s),
        allow_credentials=pb.BoolValue(value=cors.allow_credentials),
        filter_enabled=always(),
        forward_not_matching_preflights=pb.BoolValue(value=False),
    )


def _origin(origin: str) -> pb.Message:
    """A wildcard stands for one or more labels of the host (Gateway API `CORSOrigin`)."""
    if "*" not in origin:
        return pb.StringMatcher(exact=origin)
    pattern = ".*" if origin == "*" else re.escape(origin).replace(r"\*", r"[^/]+")
    return pb.StringMatcher(safe_regex={"regex": pattern})
