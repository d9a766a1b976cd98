"""Would the native data plane take it? What it would refuse is not sent, so the node keeps what it had."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ripstop.model.workload import DataPlaneKind, NodeKind, Registration
from ripstop.xds import lines
from ripstop.xds.ads import Nack
from ripstop.xds.snapshot import Resource, Snapshot

VERDICTS_MAX = 100_000
"""Resources whose verdict is remembered, by type and content; beyond, all are forgotten once."""

try:
    from ripstop import _core
except ImportError:
    _core = None  # type: ignore[assignment]

Check = Callable[[str, bytes], list[tuple[str, str]]]
Faults = tuple[tuple[str, str], ...]


def _no_verdict(type_url: str, body: bytes) -> list[tuple[str, str]]:
    """Installed without the native data plane (RIPSTOP_BUILD_RUST=0): what it would say is not known."""
    return []


CHECK: Check = _core.check if _core is not None else _no_verdict
"""The decoder's verdict on a resource: (path, problem) of every fault."""


def concerns(node: Registration) -> bool:
    """Whether the native data plane is what `node` runs."""
    return node.data_plane is DataPlaneKind.NATIVE and node.kind is not NodeKind.GRPC


@dataclass
class Preflight:
    """Verdicts on resources, each asked for once however many nodes are sent it. Pure but for what it remembers."""

    check: Check = CHECK
    _sound: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Versions by type."""
    _faulty: dict[tuple[str, str], Faults] = field(default_factory=dict)

    def passed(self, snapshot: Snapshot, before: Snapshot | None) -> tuple[Snapshot, tuple[Nack, ...]]:
        """`snapshot` with each resource that would be refused as it was in `before` (left out when it was not there), and
        a refusal for each, as the node itself would have sent it."""
        made: dict[str, Mapping[str, Resource]] = {}
        refused: list[Nack] = []
        for url, by_name in snapshot.resources.items():
            bad = self._bad(url, by_name)
            if bad:
                kept = before.of_type(url) if before else {}
                made[url] = _without(by_name, bad, kept)
                refused += [_refusal(snapshot.generation, by_name[name], bad[name]) for name in bad]
        if not made:
            return snapshot, ()
        return replace(snapshot, resources={**snapshot.resources, **made}), tuple(refused)

    def _bad(self, url: str, by_name: Mapping[str, Resource]) -> dict[str, Faults]:
        """The resources with faults, by name. For most nodes there is nothing new: that is one look at all versions."""
        sound = self._sound[url]
        if sound.issuperset({resource.version for resource in by_name.values()}):
            return {}
        news = ((name, resource) for name, resource in by_name.items() if resource.version not in sound)
        return {name: faults for name, resource in news if (faults := self._faults(resource))}

    def _faults(self, resource: Resource) -> Faults:
        key = (resource.type_url, resource.version)
        faults = self._faulty.get(key)
        if faults is None:
            faults = tuple(self.check(resource.type_url, resource.body))
            self._remember(key, faults)
        return faults

    def _remember(self, key: tuple[str, str], faults: Faults) -> None:
        if len(self._faulty) + sum(map(len, self._sound.values())) >= VERDICTS_MAX:
            self._faulty.clear()
            self._sound.clear()
        if faults:
            self._faulty[key] = faults
        else:
            self._sound[key[0]].add(key[1])


def _without(
    by_name: Mapping[str, Resource], bad: Mapping[str, Faults], kept: Mapping[str, Resource]
) -> dict[str, Resource]:
    """What was sent before passed then, so it needs no second look."""
    chosen = {name: kept.get(name) if name in bad else resource for name, resource in by_name.items()}
    return {name: resource for name, resource in chosen.items() if resource is not None}


def _refusal(generation: int, resource: Resource, faults: Faults) -> Nack:
    told = "; ".join(f"{path}: {' '.join(problem.split())}{_at(resource, path)}" for path, problem in faults)
    return Nack(
        resource.type_url, generation, f"not sent, the data plane cannot run it: {told}", (resource.name,)
    )


def _at(resource: Resource, path: str) -> str:
    source = lines.source_of(resource, path)
    return f" ({source})" if source else ""
