"""A client and the state machine under test, with every message between them under the test's control."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from client import BY_NAME, Client, Held
from worlds import is_bad

from ripstop.xds import pb, type_urls
from ripstop.xds.ads import (
    Action,
    AdsServerStream,
    Converged,
    Event,
    PatienceEnded,
    Requested,
    Send,
    SnapshotChanged,
)
from ripstop.xds.snapshot import Resource, Snapshot

MAX_STEPS = 500
"""More messages than this until all is said: the two talk in a circle."""


@dataclass
class Conversation:
    """`on_the_way` are responses that the client has yet to hear; `log` is every action of the present stream."""

    client: Client
    stream: AdsServerStream = field(init=False)
    newest: Snapshot = field(default_factory=lambda: Snapshot(0))
    on_the_way: deque[pb.Message] = field(default_factory=deque)
    log: list[Action] = field(default_factory=list)
    is_converged: bool = False
    checks_references: bool = True
    from_before: dict[str, dict[str, Held]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stream = AdsServerStream(self.client.delta)

    # --- what may happen ---

    def change(self, snapshot: Snapshot) -> list[Action]:
        self.newest, self.is_converged = snapshot, False
        return self.step(SnapshotChanged(snapshot))

    def speak(self, type_url: str) -> list[Action]:
        """The client sends its next request of this type."""
        return self.step(Requested(self.client.speak(type_url)))

    def hear(self) -> None:
        """The client takes the next response."""
        self.client.hear(self.on_the_way.popleft())
        if self.checks_references:
            lacks = list(self.client.broken())
            assert not lacks, lacks

    def lose_patience(self) -> list[Action]:
        return self.step(PatienceEnded())

    def reconnect(self) -> None:
        """The stream breaks with what is on it; SotW cannot say what the client holds, so order is lost until it has all."""
        self.client.reconnect()
        self.from_before = {url: dict(held) for url, held in self.client.held.items()}
        self.on_the_way.clear()
        self.log.clear()
        self.checks_references = self.client.delta
        self.stream = AdsServerStream(self.client.delta)
        self.change(self.newest)

    # --- what follows ---

    def step(self, event: Event) -> list[Action]:
        actions = self.stream.step(event)
        self.log += actions
        for action in actions:
            match action:
                case Send(message):
                    self.on_the_way.append(message)
                case Converged(generation, nacks):
                    assert generation == self.newest.generation
                    self.is_converged = True
                    self.checks_references = self.client.delta or not self._is_in_the_dark()
                    self.check_converged()
                    faulty = {(r.type_url, r.name) for r in self.resources() if is_bad(r)}
                    assert {(nack.type_url, name) for nack in nacks for name in nack.names} <= faulty
                    assert nacks or not any(self.is_wanted(r) for r in self.resources() if is_bad(r))
        return actions

    def talkative(self) -> list[str]:
        """The types of which the client has something to say."""
        return [url for url in type_urls.MAKE_ORDER if self.client.has_something_to_say(url)]

    def settle(self) -> None:
        """Let both speak until neither has anything to say."""
        for _ in range(MAX_STEPS):
            types = self.talkative()
            if self.on_the_way:
                self.hear()
            elif types:
                self.speak(types[0])
            elif (
                self.stream.lacks_subscriptions
            ):  # an Envoy that refused the listener never asks for its scopes
                assert (type_urls.LISTENER, "outbound") in self.client.refused
                self.lose_patience()
            else:
                return
        raise AssertionError("the client and the server talk in a circle")

    # --- what should have come of it ---

    def resources(self) -> list[Resource]:
        return [r for by_name in self.newest.resources.values() for r in by_name.values()]

    def is_wanted(self, resource: Resource) -> bool:
        url = resource.type_url
        return self.client.is_open(url) and (url not in BY_NAME or resource.name in self.client.names(url))

    def check_converged(self) -> None:
        """The client holds the newest of everything but what it refused and what would refer to that."""
        stale = [r for r in self.resources() if self.is_wanted(r) and not self._is_current(r)]
        refused = self._unusable()
        for resource in stale:
            assert is_bad(resource) or resource.references & refused, f"{resource.name} is not the newest"
        extra = self._extra() - self._kept()
        if self._is_in_the_dark():
            unreferred = (type_urls.LISTENER, type_urls.SCOPED_ROUTE) if self.client.delta else ()
            extra = {ref for ref in extra if ref[0] in unreferred}
        assert not extra, "what is gone was not removed"

    def _is_current(self, resource: Resource) -> bool:
        held = self.client.held[resource.type_url].get(resource.name)
        return held is not None and held.version == resource.version

    def _is_in_the_dark(self) -> bool:
        """Whether the client still has, of an earlier stream, a version of which the server knows but the hash.

        The newest was refused, what the old one refers to is unknown: nothing that can be referred to is removed. SotW
        knows not even the hash.
        """
        now = self.client.held
        return any(
            name in self.newest.of_type(url) and now[url].get(name) == held and not self._is_newest(url, held)
            for url, resources in self.from_before.items()
            for name, held in resources.items()
        )

    def _is_newest(self, url: str, held: Held) -> bool:
        return self.newest.of_type(url)[held.name].version == held.version

    def _unusable(self) -> set[tuple[str, str]]:
        bad = {(r.type_url, r.name) for r in self.resources() if is_bad(r)}
        if (
            not self.client.is_atomic
        ):  # it may use what came with a refused resource, and the server cannot know
            return bad | {(r.type_url, r.name) for r in self.resources() if r.references & bad}
        lost = {ref for ref in bad if ref[1] not in self.client.held[ref[0]]}
        return lost | {(r.type_url, r.name) for r in self.resources() if r.references & lost}

    def _extra(self) -> set[tuple[str, str]]:
        """What the client holds and wants and the snapshot has no more, of types whose removal can be said."""
        return {
            (url, name)
            for url, resources in self.client.held.items()
            for name in resources
            if name not in self.newest.of_type(url)
            and (url not in BY_NAME or (self.client.delta and name in self.client.names(url)))
        }

    def _kept(self) -> set[tuple[str, str]]:
        """What older versions of resources still refer to."""
        kept: set[tuple[str, str]] = set()
        queue = [(r.type_url, r.name) for r in self.resources() if not self._is_current(r)]
        while queue:
            url, name = queue.pop()
            held = self.client.held[url].get(name)
            new = (held.references if held else frozenset()) - kept
            kept |= new
            queue += new
        return kept
