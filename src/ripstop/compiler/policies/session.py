"""SessionAffinity -> the stateful session filter's configuration for a route."""

from __future__ import annotations

from ripstop.compiler.extension import typed
from ripstop.model.policy import SessionAffinity
from ripstop.xds import pb

_PREFIX = "envoy.http.stateful_session."


def stateful_session(session: SessionAffinity) -> pb.Message:
    """A `StatefulSessionPerRoute`. The cookie holds the endpoint's address; one that is gone is replaced, not an error."""
    state = _header(session) if session.kind.lower() == "header" else _cookie(session)
    return pb.StatefulSessionPerRoute(stateful_session=pb.StatefulSession(session_state=state))


def _header(session: SessionAffinity) -> pb.Message:
    return typed(_PREFIX + "header", pb.HeaderBasedSessionState(name=session.name))


def _cookie(session: SessionAffinity) -> pb.Message:
    """A cookie without a lifetime ends with the browser's session (RFC 6265, section 5.3)."""
    cookie = pb.Cookie(name=session.name, path=session.path)
    if session.is_permanent and session.absolute_timeout_s:
        cookie.ttl.CopyFrom(pb.duration(session.absolute_timeout_s))
    return typed(_PREFIX + "cookie", pb.CookieBasedSessionState(cookie=cookie))
