"""Which listener of a port a hostname belongs to, where several share the port (Gateway API, listener isolation)."""

from __future__ import annotations

from collections.abc import Iterable

from ripstop.model.resolve.gateways import covers, specificity
from ripstop.model.topology import GatewayListener

ANY = "*"


def hostname_of(listener: GatewayListener) -> str:
    """A listener's hostname; ``*`` when it has none."""
    return listener.hostname or ANY


def owner(hostname: str, listeners: Iterable[GatewayListener]) -> GatewayListener | None:
    """The listener that requests for `hostname` (or all that a pattern stands for) belong to: the most specific."""
    standing = [each for each in listeners if _stands_for(hostname_of(each), hostname)]
    return min(standing, key=lambda each: specificity(hostname_of(each)), default=None)


def _stands_for(pattern: str, hostname: str) -> bool:
    return pattern in (ANY, hostname) or covers(pattern, hostname)


def within(listener: GatewayListener, listeners: Iterable[GatewayListener]) -> list[GatewayListener]:
    """The other listeners whose hostnames this one's would cover, were they not there."""
    own = hostname_of(listener)
    return [each for each in listeners if each is not listener and _stands_for(own, hostname_of(each))]


def by_specificity(listeners: Iterable[GatewayListener]) -> list[GatewayListener]:
    """Whole names first, ``*`` last: the order of chains and virtual hosts, the same whatever the document's was."""
    return sorted(listeners, key=lambda each: specificity(hostname_of(each)))
