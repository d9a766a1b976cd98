"""What the mesh is made of right now, and the next topology when that changes.

Sans-I/O: the rim steps events in, and asks for a topology when it wants one (so that many events make one generation).
Leases are monotonic deadlines that the rim's clock is compared with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ripstop.ids import NodeId
from ripstop.model.document import Document
from ripstop.model.resolve import resolve, resolve_endpoints
from ripstop.model.topology import Topology
from ripstop.model.workload import Endpoint, Registration

LookedUpAnswers = Mapping[str, tuple[Endpoint, ...]]


@dataclass(frozen=True, slots=True)
class DocumentsChanged:
    """The whole set of documents is now this one; they were parsed and checked."""

    documents: tuple[Document, ...]


@dataclass(frozen=True, slots=True)
class Registered:
    """An agent told of its instance, or renewed it; `now` is monotonic seconds."""

    registration: Registration
    now: float


@dataclass(frozen=True, slots=True)
class Deregistered:
    """An agent took its instance away."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class LeasesExpired:
    """Time passed: whatever was not renewed by `now` (monotonic seconds) is gone."""

    now: float


@dataclass(frozen=True, slots=True)
class LookedUp:
    """DNS answered; `answers` stand in for all earlier ones."""

    answers: LookedUpAnswers


Event = DocumentsChanged | Registered | Deregistered | LeasesExpired | LookedUp


@dataclass(frozen=True, slots=True)
class Effect:
    """What an event did: whether a new topology is due, which registrations came or changed, and which went."""

    is_changed: bool = False
    stored: tuple[Registration, ...] = ()
    gone: tuple[NodeId, ...] = ()


NOTHING = Effect()


class Reconciler:
    """Holds documents, registrations with their leases and DNS answers; makes topologies of them."""

    def __init__(self, *, trust_domain: str, generation: int = 0) -> None:
        self.trust_domain = trust_domain
        self.documents: tuple[Document, ...] = ()
        self.registrations: dict[NodeId, Registration] = {}
        self.looked_up: LookedUpAnswers = {}
        self.topology = Topology(generation=generation)
        self._deadlines: dict[NodeId, float] = {}
        self._is_dirty = False
        self._needs_all = True
        self._shapes: Counter[object] = Counter()

    def step(self, event: Event) -> Effect:
        """Take one event in. The topology stays as it is until `reconcile`."""
        match event:
            case DocumentsChanged(documents):
                self.documents, self._is_dirty, self._needs_all = documents, True, True
                return Effect(is_changed=True)
            case Registered(registration, now):
                return self._register(registration, now)
            case Deregistered(node):
                return self._forget((node,))
            case LeasesExpired(now):
                return self._forget(tuple(n for n, deadline in self._deadlines.items() if deadline < now))
            case LookedUp(answers):
                return self._look_up(answers)

    def reconcile(self) -> Topology | None:
        """The next topology, or None when nothing changed since the last. Instances that only move take the cheap path."""
        if not self._is_dirty:
            return None
        self.topology = self._resolve_all() if self._needs_all else self._resolve_endpoints()
        self._is_dirty = self._needs_all = False
        return self.topology

    def proposed(self, documents: tuple[Document, ...]) -> Topology:
        """What other documents would make of the instances that are there. Nothing is changed by asking."""
        return self._resolved(documents)

    def next_deadline(self) -> float | None:
        """The monotonic second at which the first lease ends; None without leases."""
        return min(self._deadlines.values(), default=None)

    def lease_of(self, node: NodeId) -> float | None:
        """The monotonic second at which a node's lease ends."""
        return self._deadlines.get(node)

    def _resolve_all(self) -> Topology:
        return self._resolved(self.documents)

    def _resolved(self, documents: tuple[Document, ...]) -> Topology:
        return resolve(
            documents,
            tuple(self.registrations.values()),
            self.looked_up,
            generation=self.topology.generation + 1,
            previous=self.topology,
            trust_domain=self.trust_domain,
        )

    def _resolve_endpoints(self) -> Topology:
        return resolve_endpoints(
            self.topology,
            dict(self.registrations),
            self.looked_up,
            generation=self.topology.generation + 1,
            documents=self.documents,
        )

    def _register(self, registration: Registration, now: float) -> Effect:
        node = registration.node
        self._deadlines[node] = now + registration.lease_s
        registration = replace(registration, expires_at=0.0)
        before = self.registrations.get(node)
        if before == registration:
            return NOTHING
        self.registrations[node] = registration
        self._count(before, registration)
        self._is_dirty = True
        return Effect(is_changed=True, stored=(registration,))

    def _forget(self, nodes: tuple[NodeId, ...]) -> Effect:
        gone = tuple(node for node in nodes if node in self.registrations)
        for node in nodes:
            self._deadlines.pop(node, None)
            self._count(self.registrations.pop(node, None), None)
        self._is_dirty = self._is_dirty or bool(gone)
        return Effect(is_changed=bool(gone), gone=gone)

    def _count(self, before: Registration | None, after: Registration | None) -> None:
        """Services can be other ones only when a shape is new or the last of its kind went: else only endpoints moved."""
        for registration, change in ((after, 1), (before, -1)):
            if registration is not None:
                shape = _shape(registration)
                self._shapes[shape] += change
                if self._shapes[shape] == (1 if change > 0 else 0):
                    self._needs_all = True
                if not self._shapes[shape]:
                    del self._shapes[shape]

    def _look_up(self, answers: LookedUpAnswers) -> Effect:
        if dict(answers) == dict(self.looked_up):
            return NOTHING
        self.looked_up, self._is_dirty = dict(answers), True
        return Effect(is_changed=True)


def _shape(registration: Registration) -> object:
    """What services can be told from one registration."""
    return (
        registration.node.service_id,
        registration.kind,
        registration.app_port,
        registration.inbound_port > 0,
        registration.protocol,
        tuple(sorted(registration.all_labels().items())),
    )
