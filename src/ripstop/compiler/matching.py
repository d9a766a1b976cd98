"""HttpMatch -> RouteMatch. Paths by element (Gateway API PathPrefix), header names of HTTP/2."""

from __future__ import annotations

from ripstop.model.topology import HttpMatch, ValueMatch
from ripstop.xds import pb


def route_match(match: HttpMatch, *extra: pb.Message) -> pb.Message:
    """The `RouteMatch`; `extra` header matchers are added to the match's own."""
    made = pb.RouteMatch(headers=[*_headers(match), *extra])
    made.query_parameters.extend(
        pb.QueryParameterMatcher(name=wanted.name, string_match=_string(wanted)) for wanted in match.query
    )
    _path(made, match)
    return made


def _path(made: pb.Message, match: HttpMatch) -> None:
    """``/foo`` as a prefix is /foo and /foo/bar, never /foobar; ``/`` is everything."""
    prefix = match.path.rstrip("/")
    if match.path_kind == "exact":
        made.path = match.path
    elif match.path_kind == "regex":
        made.safe_regex.regex = match.path
    elif prefix:
        made.path_separated_prefix = prefix
    else:
        made.prefix = "/"


def _headers(match: HttpMatch) -> list[pb.Message]:
    method = [method_is(match.method)] if match.method else []
    return [*method, *(_header(wanted) for wanted in match.headers)]


def _header(wanted: ValueMatch) -> pb.Message:
    name = ":authority" if wanted.name.lower() == "host" else wanted.name.lower()
    return pb.HeaderMatcher(name=name, string_match=_string(wanted))


def _string(wanted: ValueMatch) -> pb.Message:
    """A regular expression matches the whole value (`safe_regex` is anchored)."""
    if wanted.kind == "regex":
        return pb.StringMatcher(safe_regex={"regex": wanted.value})
    return pb.StringMatcher(exact=wanted.value)


def method_is(method: str) -> pb.Message:
    """A `HeaderMatcher` for one method."""
    return pb.HeaderMatcher(name=":method", string_match={"exact": method})


def method_in(regex: str) -> pb.Message:
    """A `HeaderMatcher` for methods by regular expression."""
    return pb.HeaderMatcher(name=":method", string_match={"safe_regex": {"regex": regex}})


def present(name: str) -> pb.Message:
    """A `HeaderMatcher` for a header that is there."""
    return pb.HeaderMatcher(name=name, present_match=True)


def connect() -> pb.Message:
    """A `RouteMatch` for CONNECT requests, which no path matches."""
    return pb.RouteMatch(connect_matcher=pb.RouteMatch.ConnectMatcher())
