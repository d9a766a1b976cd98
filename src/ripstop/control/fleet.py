"""Who is connected, what each node was sent, and what it runs. Pure: the rim tells it what happened."""

from __future__ import annotations

from dataclasses import dataclass, field

from ripstop.ids import NodeId
from ripstop.model.workload import NodeKind
from ripstop.xds.ads import Nack


@dataclass(slots=True)
class NodeState:
    """One connected node. `generation` is the newest that all of it runs; `since` is wall seconds.

    `wanted` is the newest generation, `handed` the newest that had something new for this node: who runs `handed` runs
    `wanted`. `withheld` is what the node was not sent because it would refuse it, in the words of a refusal.
    """

    node: NodeId
    kind: NodeKind
    since: float
    protocol: str
    user_agent: str = ""
    wanted: int = 0
    handed: int = 0
    generation: int = -1
    nacks: tuple[Nack, ...] = ()
    withheld: tuple[Nack, ...] = ()
    not_on_this_data_plane: tuple[str, ...] = ()
    pushes: int = 0
    bytes_sent: int = 0
    streams: int = 1

    @property
    def refusals(self) -> tuple[Nack, ...]:
        """All that the node does not run although it should."""
        return (*self.withheld, *self.nacks)


@dataclass(frozen=True, slots=True)
class Rollout:
    """How far a generation has come."""

    generation: int
    live: tuple[NodeId, ...]
    waiting: tuple[NodeId, ...]
    refused: tuple[tuple[NodeId, Nack], ...]

    @property
    def is_done(self) -> bool:
        """Whether every node has answered."""
        return not self.waiting

    def summary(self) -> str:
        """``generation 17 live on 41 of 42; web-3 rejects route shop: …``."""
        total = len(self.live) + len(self.waiting) + len({node for node, _ in self.refused})
        text = f"generation {self.generation} live on {len(self.live)} of {total}"
        for node, nack in self.refused[:3]:
            names = ", ".join(nack.names) or "a resource"
            text += f"; {node} rejects {names}: {nack.message.splitlines()[0] if nack.message else '?'}"
        if self.waiting:
            text += f"; no answer yet from {', '.join(str(node) for node in self.waiting[:3])}"
        return text


@dataclass
class Fleet:
    """All connected nodes."""

    nodes: dict[NodeId, NodeState] = field(default_factory=dict)
    pushes: int = 0
    nacks: int = 0
    bytes_sent: int = 0

    def connected(self, state: NodeState) -> None:
        """A node opened a stream; a second stream of it stands in for the first."""
        before = self.nodes.get(state.node)
        if before is not None:
            state.streams = before.streams + 1
        self.nodes[state.node] = state

    def disconnected(self, node: NodeId) -> None:
        """A stream of a node ended."""
        state = self.nodes.get(node)
        if state is None:
            return
        state.streams -= 1
        if state.streams <= 0:
            del self.nodes[node]

    def targeted(self, node: NodeId, generation: int, not_on_this_data_plane: tuple[str, ...]) -> None:
        """A node should run a generation now."""
        state = self.nodes.get(node)
        if state is not None:
            state.wanted = state.handed = generation
            state.not_on_this_data_plane = not_on_this_data_plane

    def withheld(self, node: NodeId, refusals: tuple[Nack, ...]) -> None:
        """What a node is not sent of its newest snapshot; nothing when all of it is sent."""
        state = self.nodes.get(node)
        if state is not None:
            state.withheld = refusals

    def unaffected(self, node: NodeId, generation: int) -> None:
        """A generation has nothing new for a node: once it runs what it was handed last, it runs this one."""
        state = self.nodes.get(node)
        if state is not None:
            state.wanted = generation
            if state.generation >= state.handed:
                state.generation = generation

    def sent(self, node: NodeId, size: int) -> None:
        """A response of `size` bytes went out."""
        self.pushes += 1
        self.bytes_sent += size
        state = self.nodes.get(node)
        if state is not None:
            state.pushes += 1
            state.bytes_sent += size

    def converged(self, node: NodeId, generation: int, nacks: tuple[Nack, ...]) -> None:
        """A node has answered all of a generation; `nacks` is what it refused of it."""
        state = self.nodes.get(node)
        if state is not None:
            state.generation = state.wanted if generation >= state.handed else generation
            state.nacks = nacks

    def refused(self, node: NodeId, nack: Nack) -> None:
        """A node refused a response."""
        self.nacks += 1
        state = self.nodes.get(node)
        if state is not None:
            others = tuple(n for n in state.nacks if n.type_url != nack.type_url)
            state.nacks = (*others, nack)

    def rollout(self, generation: int) -> Rollout:
        """Who runs `generation` (or a later one), who has yet to answer, who refuses. Who was handed nothing (it is not
        registered yet) is not waited for."""
        wanted = [state for state in self.nodes.values() if state.handed]
        live = [s for s in wanted if s.generation >= generation and not s.refusals]
        refused = [(s.node, nack) for s in wanted if s.generation >= generation for nack in s.refusals]
        waiting = [s.node for s in wanted if s.generation < generation]
        return Rollout(
            generation,
            tuple(sorted(s.node for s in live)),
            tuple(sorted(waiting)),
            tuple(sorted(refused, key=_first)),
        )


def _first(item: tuple[NodeId, Nack]) -> NodeId:
    return item[0]
