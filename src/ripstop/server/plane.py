"""The control plane at work: takes changes in, makes them durable, compiles snapshots and hands them to the streams.

Everything here runs in one event loop. Disk work goes to a thread; a change is acknowledged when it is on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog

from ripstop.clock import Clock
from ripstop.compiler import Compiler
from ripstop.control import preflight
from ripstop.control.fleet import Fleet, Rollout
from ripstop.control.preflight import Preflight
from ripstop.control.reconcile import (
    Deregistered,
    DocumentsChanged,
    Effect,
    LeasesExpired,
    LookedUp,
    Reconciler,
    Registered,
)
from ripstop.control.rollout import Difference
from ripstop.identity import CertificateAuthority
from ripstop.ids import NodeId
from ripstop.model.document import Document
from ripstop.model.registration_check import registration_from_bytes, registration_to_bytes
from ripstop.model.topology import Topology
from ripstop.model.workload import Endpoint, Health, NodeKind, Registration
from ripstop.observe import ControlMetrics, Decisions, Signals
from ripstop.storage import Store
from ripstop.xds.ads import Nack
from ripstop.xds.snapshot import Snapshot

SETTLE_S = 0.01
"""Changes of instances within this time become one generation;"""
SETTLE_SHARE = 3.0
"""and within this many times what the last one cost, so that many changes never take all of the loop."""
LEASE_LOOK_S = 1.0
COMPILES_PER_TURN = 16
"""Snapshots made before other work of the loop gets its turn."""

log = structlog.get_logger("ripstop.plane")


@dataclass(slots=True, eq=False)
class Watch:
    """One stream's wish to be told of its node's snapshots."""

    node: NodeId
    is_grpc: bool
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    snapshot: Snapshot | None = None
    withheld: tuple[Nack, ...] = ()
    registration: Registration | None = None
    generation: int = -1


class Plane:
    """Documents, registrations and their consequences."""

    def __init__(
        self,
        store: Store,
        authority: CertificateAuthority,
        clock: Clock,
        *,
        listens: dict[str, str] | None = None,
    ) -> None:
        self.store, self.authority, self.clock = store, authority, clock
        self.listens = listens or {}
        self.started_at = clock.wall()
        self.fleet, self.signals, self.metrics = Fleet(), Signals(), ControlMetrics()
        self.decisions = Decisions()
        self.reconciler = Reconciler(trust_domain=authority.trust_domain, generation=store.generation())
        self.compiler, self.preflight = Compiler(), Preflight()
        self.on_documents: list[Callable[[tuple[Document, ...]], None]] = []
        self.documents_lock = asyncio.Lock()
        self._watches: dict[NodeId, set[Watch]] = {}
        self._progress = asyncio.Condition()
        self._settling: asyncio.TimerHandle | None = None
        self._publishing: asyncio.Task[None] | None = None
        self._unpublished: Topology | None = None
        self._published = self.topology
        self._made_at: dict[int, float] = {}
        self._cost_s = 0.0

    @property
    def topology(self) -> Topology:
        """The newest topology."""
        return self.reconciler.topology

    # --- start ---

    async def load(self, documents: tuple[Document, ...]) -> None:
        """Take over what the store kept. Registrations get a fresh lease: their agents may not have noticed."""
        kept = await asyncio.to_thread(self.store.registrations)
        now = self.clock.monotonic()
        for text in kept:
            self.reconciler.step(Registered(registration_from_bytes(text), now))
        self.set_documents(documents)

    async def keep_leases(self) -> None:
        """Let go of instances whose lease has ended, for ever."""
        while True:
            await asyncio.sleep(LEASE_LOOK_S)
            effect = self.reconciler.step(LeasesExpired(self.clock.monotonic()))
            if effect.gone:
                log.warning("lease_ended", nodes=[str(node) for node in effect.gone])
                await self._forget(effect)

    # --- documents ---

    def set_documents(self, documents: tuple[Document, ...]) -> int:
        """Make these (sound and durable) documents the current ones; the generation that has them."""
        self.reconciler.step(DocumentsChanged(documents))
        for tell in self.on_documents:
            tell(documents)
        return self.reconcile()

    def looked_up(self, answers: dict[str, tuple[Endpoint, ...]]) -> None:
        """DNS answered anew."""
        self._settle(self.reconciler.step(LookedUp(answers)))

    # --- registrations ---

    async def register(self, registration: Registration) -> int:
        """Take or renew a registration; the generation that has it. Durable when this returns."""
        effect = self.reconciler.step(Registered(registration, self.clock.monotonic()))
        if effect.stored:
            items = {str(r.node): registration_to_bytes(r) for r in effect.stored}
            await asyncio.to_thread(self.store.put_registrations, items)
        self._settle(effect)
        return self.topology.generation + (1 if effect.is_changed else 0)

    async def deregister(self, node: NodeId) -> int:
        """Take an instance away now; the generation that lacks it."""
        effect = self.reconciler.step(Deregistered(node))
        await self._forget(effect)
        return self.reconcile()

    async def _forget(self, effect: Effect) -> None:
        if effect.gone:
            await asyncio.to_thread(self.store.delete_registrations, [str(node) for node in effect.gone])
            for node in effect.gone:
                self.signals.forget(str(node))
        self._settle(effect)

    # --- topologies ---

    def _settle(self, effect: Effect) -> None:
        if effect.is_changed and self._settling is None:
            wait_s = max(SETTLE_S, SETTLE_SHARE * self._cost_s)
            self._settling = asyncio.get_running_loop().call_later(wait_s, self._settled)

    def _settled(self) -> None:
        self._settling = None
        self.reconcile()

    def reconcile(self) -> int:
        """Make the next topology if anything changed, and have it published; the newest generation."""
        started = time.perf_counter()
        made = self.reconciler.reconcile()
        self._cost_s = time.perf_counter() - started
        self.metrics.resolve.observe(self._cost_s)
        if made is not None:
            self._made_at[made.generation] = self.clock.monotonic()
            self._unpublished = made
            self.metrics.generation.set(made.generation)
            self.metrics.instances.set(len(made.nodes))
            if self._publishing is None or self._publishing.done():
                self._publishing = asyncio.get_running_loop().create_task(self._publish())
        return self.topology.generation

    async def _publish(self) -> None:
        """Compile for every connected node that the newest topology concerns; a newer one meanwhile is next."""
        while self._unpublished is not None:
            topology, self._unpublished = self._unpublished, None
            difference = Difference.between(self._published, topology)
            self._published = topology
            started, count = time.perf_counter(), 0
            for node in list(self._watches):
                count += self._offer(node, topology, difference)
                if count % COMPILES_PER_TURN == COMPILES_PER_TURN - 1:
                    await asyncio.sleep(0)
            self.metrics.compile.observe(time.perf_counter() - started)
            await self._made_progress()

    def _offer(self, node: NodeId, topology: Topology, difference: Difference) -> int:
        watches = self._watches.get(node, ())
        snapshot: Snapshot | None = None
        for watch in watches:
            same = watch.registration is topology.nodes.get(node)
            is_leaving = node not in topology.nodes and not watch.is_grpc  # it drains with what it has
            if is_leaving or (same and not difference.concerns(watch.snapshot)):
                self.fleet.unaffected(node, topology.generation)
                continue
            snapshot = snapshot or self._compile(topology, node, is_grpc=watch.is_grpc)
            if snapshot is not None:
                self._hand_over(watch, snapshot, topology)
        return 1 if snapshot else 0

    def _hand_over(self, watch: Watch, snapshot: Snapshot, topology: Topology) -> None:
        """Have a stream told of a snapshot, if it has anything new; what its node would refuse stays as it was."""
        node, generation = watch.node, topology.generation
        watch.registration = topology.nodes.get(node)
        snapshot = self._passed(watch, snapshot)
        if watch.snapshot is not None and snapshot.resources == watch.snapshot.resources:
            self.fleet.unaffected(node, generation)
            return
        watch.snapshot, watch.generation = snapshot, generation
        self.fleet.targeted(node, generation, snapshot.not_on_this_data_plane)
        watch.wake.set()

    def _passed(self, watch: Watch, snapshot: Snapshot) -> Snapshot:
        withheld: tuple[Nack, ...] = ()
        if watch.registration is not None and not watch.is_grpc and preflight.concerns(watch.registration):
            snapshot, withheld = self.preflight.passed(snapshot, watch.snapshot)
        told = {(nack.names, nack.message) for nack in watch.withheld}
        for nack in withheld:
            if (nack.names, nack.message) not in told:
                log.warning("withheld", node=str(watch.node), names=nack.names, message=nack.message)
        watch.withheld = withheld
        self.fleet.withheld(watch.node, withheld)
        return snapshot

    def _compile(self, topology: Topology, node: NodeId, *, is_grpc: bool) -> Snapshot | None:
        """A node that is not registered (any more) keeps what it has; a gRPC client needs no registration."""
        registration = topology.nodes.get(node)
        if registration is None:
            if not is_grpc:
                return None
            registration = Registration(node=node, kind=NodeKind.GRPC, health=Health.DRAINING)
        elif is_grpc:
            registration = replace(registration, kind=NodeKind.GRPC)
        try:
            return self.compiler.compile(topology, registration)
        except Exception:
            # One node's trouble must not take the others' changes with it; it keeps what it runs.
            log.exception("compile_failed", node=str(node), generation=topology.generation)
            return None

    # --- streams ---

    def watch(self, node: NodeId, *, is_grpc: bool) -> Watch:
        """Begin to follow a node's snapshots."""
        watch = Watch(node, is_grpc)
        self._watches.setdefault(node, set()).add(watch)
        self.metrics.nodes.set(len(self._watches))
        snapshot = self._compile(self.topology, node, is_grpc=is_grpc)
        if snapshot is not None:
            self._hand_over(watch, snapshot, self.topology)
        return watch

    def unwatch(self, watch: Watch) -> None:
        """The stream ended."""
        watches = self._watches.get(watch.node, set())
        watches.discard(watch)
        if not watches:
            self._watches.pop(watch.node, None)
        self.metrics.nodes.set(len(self._watches))

    async def progressed(self, generation: int) -> None:
        """A node answered all of a generation."""
        made_at = self._made_at.get(generation)
        if made_at is not None and self.fleet.rollout(generation).is_done:
            self.metrics.convergence.observe(self.clock.monotonic() - made_at)
            self._made_at = {g: at for g, at in self._made_at.items() if g > generation}
        await self._made_progress()

    async def _made_progress(self) -> None:
        async with self._progress:
            self._progress.notify_all()

    async def wait_for(self, generation: int, wait_s: float) -> Rollout:
        """How far a generation has come, after at most `wait_s` seconds or when every node has answered."""

        def is_done() -> bool:
            return self._published.generation >= generation and self.fleet.rollout(generation).is_done

        async with self._progress:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._progress.wait_for(is_done), max(0.0, wait_s))
        return self.fleet.rollout(generation)
