"""The state of one resource type on one stream: what the client wants, holds, was sent and refused."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from ripstop.xds import type_urls
from ripstop.xds.ads.messages import Nack
from ripstop.xds.ads.subscription import Change, Subscription
from ripstop.xds.snapshot import Resource

RESPONSE_BYTES = 2 * 1024 * 1024
"""A response that need not hold the full set is cut here; the rest follows its ACK (gRPC clients take 4 MiB)."""
ERROR_LENGTH = 4096
"""Longer error details of clients are cut here."""

Reference = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Response:
    """A response that was sent and is not yet acknowledged."""

    nonce: str
    generation: int
    changed: tuple[Resource, ...]
    removed: tuple[str, ...] = ()


@dataclass(slots=True)
class Channel:
    """One type on one stream.

    `held` is what the client has accepted; of the `recalled` among it (delta, from an earlier stream) only the version
    is known. `doubted` came along with something refused: whether the client uses it is not known. A resource it refused
    is not sent again in that version (`rejected`).
    When a refusal does not say which resource is at fault, `batch` is halved until the culprit is alone.
    `forced` names are answered although they are unchanged; `is_due` asks for an answer even when it is empty.
    """

    type_url: str
    is_full: bool
    """SotW LDS, CDS and SRDS: each response is the whole set, and what it lacks is removed."""
    subscription: Subscription
    held: dict[str, Resource] = field(default_factory=dict)
    recalled: set[str] = field(default_factory=set)
    doubted: set[str] = field(default_factory=set)
    forced: set[str] = field(default_factory=set)
    is_due: bool = False
    rejected: dict[str, str] = field(default_factory=dict)
    nack: Nack | None = None
    outstanding: Response | None = None
    last_nonce: str = ""
    batch: int = 0
    _clean: Mapping[str, Resource] | None = None

    # --- what the client asks ---

    def asked(self, change: Change, known: Collection[str] = ()) -> None:
        """Take a change of the subscription; `known` names came with their versions and need no answer."""
        self._clean = None
        for name in change.removed:
            self._forget(name)
        if change.lost_wildcard:
            for name in [n for n in self.held if not self.subscription.wants(n)]:
                self._forget(name)
        for name in change.added:
            self.rejected.pop(name, None)
        self.forced |= change.added.difference(known)
        self.is_due = self.is_due or (change.became_wildcard and not known) or (self.is_full and change.asks)

    def _forget(self, name: str) -> None:
        if self.subscription.wildcard:  # still wanted: say again what it is (xDS protocol, "Unsubscribing")
            self.forced.add(name)
            return
        self._drop(name)
        self.forced.discard(name)
        self.rejected.pop(name, None)

    def _drop(self, name: str) -> None:
        self.held.pop(name, None)
        self.recalled.discard(name)
        self.doubted.discard(name)

    def asked_again(self) -> None:
        """An identical SotW request: answer everything once more, unless an answer is on its way."""
        if self.outstanding is None and not self.forced and not self.is_due:
            self.force(self.subscription.names)
            self.is_due = self.is_full

    def remember(self, versions: Mapping[str, str]) -> None:
        """Delta reconnect (`initial_resource_versions`): what the client holds from an earlier stream."""
        for name, version in versions.items():
            if self.subscription.wants(name):
                self.held[name] = Resource(self.type_url, name, b"", version)
                self.recalled.add(name)

    def recognise(self, target: Mapping[str, Resource]) -> None:
        """Learn what the resources of an earlier stream refer to, where the snapshot has them in that version."""
        for name in list(self.recalled):
            resource = target.get(name)
            if resource is not None and resource.version == self.held[name].version:
                self._hold(resource)

    def _hold(self, resource: Resource) -> None:
        self.held[resource.name] = resource
        self.recalled.discard(resource.name)

    def force(self, names: Iterable[str]) -> None:
        """Answer these again although nothing changed."""
        self.forced.update(names)
        self._clean = None

    # --- what is to be sent ---

    def additions(
        self, target: Mapping[str, Resource], unusable: Collection[Reference] = ()
    ) -> list[Resource]:
        """What is new, changed or asked for again. Changes that refer to something refused are withheld."""
        if self._clean is target and not self.forced:
            return []
        found = [work for r in self.subscription.select(target) if (work := self._work(r))]
        if unusable:
            found = [r for r in found if not self._would_break(r, unusable)]
        if self.type_url == type_urls.CLUSTER:  # aggregates after their members, should the response be cut
            found.sort(key=lambda r: any(url == type_urls.CLUSTER for url, _ in r.references))
        if not found:
            self.batch = 0
            self._clean = None if self.forced else target
        return found

    def _work(self, resource: Resource) -> Resource | None:
        """What to send of a resource: its newest version, once more the one that the client kept, or nothing."""
        name, held = resource.name, self.held.get(resource.name)
        if self.rejected.get(name) == resource.version:
            return held if name in self.forced and name not in self.recalled else None
        if held is resource or (held and held.version == resource.version):
            self._hold(resource)
            return resource if name in self.forced else None
        return resource

    def _would_break(self, resource: Resource, unusable: Collection[Reference]) -> bool:
        """Whether the version that the client has gets by without something unusable that this one refers to."""
        held = self.held.get(resource.name)
        if held is None or resource.references.isdisjoint(unusable):
            return False
        return any(ref in unusable for ref in resource.references - held.references)

    def absent(self, target: Mapping[str, Resource]) -> list[str]:
        """Names asked for that exist nowhere: neither in the snapshot nor at the client."""
        return sorted(self.forced.difference(target, self.held, self.doubted)) if self.forced else []

    def removals(self, target: Mapping[str, Resource]) -> list[str]:
        """What the client holds, or may hold, and the snapshot has no more."""
        if self.held.keys() <= target.keys() and not self.doubted:
            return []
        return [name for name in self.held if name not in target] + sorted(
            self.doubted.difference(target, self.held)
        )

    def cut(self, changed: list[Resource]) -> list[Resource]:
        """As much as one response may hold."""
        if self.batch:
            changed = changed[: self.batch]
        if self.is_full:
            return changed
        size, count = 0, 0
        for resource in changed:
            size += len(resource.body)
            if count and size > RESPONSE_BYTES:
                break
            count += 1
        return changed[:count]

    def has_sent(self, name: str) -> bool:
        """Whether the client has this resource or is about to have it."""
        return name in self.held or (
            self.outstanding is not None and any(r.name == name for r in self.outstanding.changed)
        )

    def send(self, response: Response, absent: Iterable[str] = ()) -> None:
        """Note that `response` is on its way."""
        self.outstanding, self.last_nonce, self.is_due = response, response.nonce, False
        self.forced.difference_update(resource.name for resource in response.changed)
        self.forced.difference_update(absent)

    def full_set(self, response: Response) -> list[Resource]:
        """SotW: everything the client should hold after `response`: old and new, without what it removes."""
        whole = self.held | {resource.name: resource for resource in response.changed}
        return [
            r for name, r in whole.items() if name not in response.removed and self.subscription.wants(name)
        ]

    # --- what the client answers ---

    def accept(self) -> Response | None:
        """The client took the outstanding response."""
        response, self.outstanding = self.outstanding, None
        self._clean = None
        if response is not None:
            self._apply(response.changed, response.removed)
        return response

    def _apply(self, changed: Iterable[Resource], removed: Iterable[str]) -> None:
        for name in removed:
            self._drop(name)
        for resource in changed:
            self.doubted.discard(resource.name)
            if self.rejected.get(resource.name) == resource.version:
                del self.rejected[resource.name]
            if self.subscription.wants(resource.name):
                self._hold(resource)

    def reject(self, message: str) -> Nack | None:
        """The client refused the outstanding response: find the culprit, never send that version again."""
        response, self.outstanding = self.outstanding, None
        self._clean = None
        if response is None:
            return None
        self._apply((), response.removed)
        names = [resource.name for resource in response.changed]
        guilty = names if len(names) == 1 else named_in(message, names)
        for resource in response.changed:
            if resource.name in guilty:
                self.rejected[resource.name] = resource.version
        self._doubt(name for name in names if name not in guilty or name in self.doubted)
        self.batch = 0 if guilty else len(names) // 2
        self.nack = Nack(
            self.type_url, response.generation, message[:ERROR_LENGTH], tuple(sorted(self.rejected))
        )
        return self.nack

    def _doubt(self, names: Iterable[str]) -> None:
        """What came along with a refused resource: clients may use it (Envoy does) or not, so it is said once more."""
        doubtful = {name for name in names if self.subscription.wants(name)}
        self.doubted |= doubtful
        self.forced |= doubtful

    def retarget(self, target: Mapping[str, Resource]) -> None:
        """A new snapshot: refusals of versions that it no longer has are forgotten."""
        self.recognise(target)
        for name, version in list(self.rejected.items()):
            resource = target.get(name)
            if resource is None or resource.version != version:
                del self.rejected[name]
                self._clean = None

    def drop(self, names: Iterable[str]) -> None:
        """SotW: what is gone without a word (endpoints and routes whose owners are gone)."""
        self._apply((), names)

    def current_nack(self) -> Nack | None:
        """The refusal that still stands."""
        if self.nack is None or not self.rejected:
            return None
        return Nack(self.type_url, self.nack.generation, self.nack.message, tuple(sorted(self.rejected)))

    def refused(self) -> set[Reference]:
        """Resources that the client has in no version because it refused them."""
        return {(self.type_url, name) for name in self.rejected if name not in self.held}


def named_in(message: str, names: Iterable[str]) -> list[str]:
    """The names that stand in an error text as whole words: ``tls/a`` is none in ``tls/a-b`` or ``tls/a.b``."""
    return [
        name
        for name in names
        if name in message and re.search(rf"(?<![\w/@.*-]){re.escape(name)}(?![\w/@*-]|\.\w)", message)
    ]
