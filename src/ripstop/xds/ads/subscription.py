"""Which resources of one type a client wants.

Source: xDS protocol, "How the client specifies what resources to return" and "Wildcard subscriptions": a first request
without names is the legacy wildcard for the types that have one; ``*`` is the explicit one; once a client has named
names, an empty list means none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from ripstop.xds import type_urls
from ripstop.xds.snapshot import Resource

WILDCARD = "*"
MAX_SUBSCRIPTIONS = 20_000
"""Names that one stream may subscribe to over all types; a stream that asks for more is refused."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a request changed: names newly wanted, no longer wanted, and whether "all" is newly or no longer wanted."""

    added: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    became_wildcard: bool = False
    lost_wildcard: bool = False

    @property
    def asks(self) -> bool:
        """Whether the client waits for an answer."""
        return bool(self.added) or self.became_wildcard


@dataclass(slots=True)
class Subscription:
    """The names a client wants of one type, and whether it wants all."""

    type_url: str
    wildcard: bool = False
    names: set[str] = field(default_factory=set)
    _asked: bool = False
    _named: bool = False

    def wants(self, name: str) -> bool:
        """Whether a resource of this name is to be sent."""
        return self.wildcard or name in self.names

    def replace(self, names: Collection[str]) -> Change:
        """SotW: every request lists all names."""
        listed = set(names)
        legacy = not listed and not self._named and self.type_url in type_urls.WILDCARD_TYPES
        wildcard = legacy or WILDCARD in listed
        self._named = self._named or bool(listed)
        listed.discard(WILDCARD)
        added, removed = listed - self.names, self.names - listed
        return self._become(wildcard, listed, frozenset(added), frozenset(removed))

    def change(self, subscribe: Iterable[str], unsubscribe: Iterable[str]) -> Change:
        """Delta: every request lists what changes. A name subscribed to again is to be answered again."""
        more, less = set(subscribe), set(unsubscribe)
        legacy = not self._asked and not more and self.type_url in type_urls.WILDCARD_TYPES
        wildcard = (self.wildcard or legacy or WILDCARD in more) and WILDCARD not in less
        more.discard(WILDCARD)
        less.discard(WILDCARD)
        return self._become(wildcard, (self.names | more) - less, frozenset(more - less), frozenset(less))

    def _become(
        self, wildcard: bool, names: set[str], added: frozenset[str], removed: frozenset[str]
    ) -> Change:
        change = Change(added, removed, wildcard and not self.wildcard, self.wildcard and not wildcard)
        self.wildcard, self.names, self._asked = wildcard, names, True
        return change

    def select(self, resources: Mapping[str, Resource]) -> Iterable[Resource]:
        """The wanted ones among `resources`."""
        if self.wildcard:
            return resources.values()
        if len(self.names) < len(resources):
            return [resources[name] for name in sorted(self.names) if name in resources]
        return [resource for name, resource in resources.items() if name in self.names]
