"""One node's consistent set of resources. Pure data: equal worlds give equal bytes, versions are content hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ripstop.xds import type_urls


@dataclass(frozen=True, slots=True)
class Resource:
    """One named xDS message, serialized deterministically. `version` is the hash of its bytes.

    Resources are shared between the snapshots of many nodes: equal ones should be the same object.
    `references` are the (type URL, name) pairs that must exist before this resource is used.
    """

    type_url: str
    name: str
    body: bytes = field(repr=False)
    version: str
    references: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(
        cls, type_url: str, name: str, body: bytes, references: Iterable[tuple[str, str]] = ()
    ) -> Resource:
        """A resource with the version that its bytes have."""
        return cls(type_url, name, body, content_version(body), frozenset(references))


def content_version(body: bytes) -> str:
    """Sixteen hexadecimal digits that change when, and only when, the content does."""
    return hashlib.blake2b(body, digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything one node should run at one generation, by type URL and name."""

    generation: int
    resources: Mapping[str, Mapping[str, Resource]] = field(default_factory=dict)
    not_on_this_data_plane: tuple[str, ...] = ()
    """What documents ask for and this kind of data plane cannot do, for `status`."""

    @classmethod
    def build(
        cls, generation: int, resources: Iterable[Resource], not_on_this_data_plane: tuple[str, ...] = ()
    ) -> Snapshot:
        """Group resources by type and name; two of one name are our own bug."""
        grouped: dict[str, dict[str, Resource]] = {url: {} for url in type_urls.MAKE_ORDER}
        for resource in resources:
            by_name = grouped[resource.type_url]
            assert resource.name not in by_name, f"two resources are named {resource.name}"
            by_name[resource.name] = resource
        return cls(generation, grouped, not_on_this_data_plane)

    def of_type(self, type_url: str) -> Mapping[str, Resource]:
        """The resources of one type, by name."""
        return self.resources.get(type_url, {})

    def missing_references(self) -> list[tuple[str, str]]:
        """References that nothing in the snapshot satisfies; empty when the snapshot is consistent."""
        have = {(url, name) for url, by_name in self.resources.items() for name in by_name}
        want = {ref for by_name in self.resources.values() for r in by_name.values() for ref in r.references}
        return sorted(want - have)
