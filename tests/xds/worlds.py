"""Consistent snapshots for tests: resources whose bodies `client.py` can read, and a hypothesis strategy for them."""

from __future__ import annotations

import json
from collections.abc import Iterable

from client import NAMED, SILENT
from hypothesis import strategies as st

from ripstop.xds import type_urls
from ripstop.xds.snapshot import Resource, Snapshot

CDS, EDS, LDS = type_urls.CLUSTER, type_urls.ENDPOINT, type_urls.LISTENER
RDS, SRDS, SDS = type_urls.ROUTE, type_urls.SCOPED_ROUTE, type_urls.SECRET

SERVICES = ("out/shop/a/80", "out/shop/b/80", "out/shop/c/80")
VARIANT = "@canary"
ROUTES = ("out/shop/a", "out/shop/b", "gateway/80/*")


def made(
    type_url: str, name: str, revision: int = 0, refers: Iterable[tuple[str, str]] = (), fault: str = ""
) -> Resource:
    """A resource that `client.Held` can read."""
    references = sorted(refers)
    content = {"name": name, "revision": revision, "references": references, "fault": fault}
    return Resource.of(type_url, name, json.dumps(content).encode(), references)


def cluster(name: str, revision: int = 0, fault: str = "", assignment: str = "") -> Resource:
    """A cluster with endpoints by EDS."""
    return made(CDS, name, revision, [(EDS, assignment or name)], fault)


def endpoints(name: str, revision: int = 0, fault: str = "") -> Resource:
    return made(EDS, name, revision, (), fault)


def service(name: str, revision: int = 0) -> list[Resource]:
    """A cluster and its endpoints."""
    return [cluster(name, revision), endpoints(name)]


def routes(name: str, *clusters: str, revision: int = 0, fault: str = "") -> Resource:
    return made(RDS, name, revision, [(CDS, used) for used in clusters], fault)


def scope(name: str, route: str) -> Resource:
    return made(SRDS, name, 0, [(RDS, route)])


def outbound(revision: int = 0, fault: str = "") -> Resource:
    """The listener whose routes come by scopes."""
    return made(LDS, "outbound", revision, (), fault)


def is_bad(resource: Resource) -> bool:
    """Whether the client refuses it."""
    return bool(json.loads(resource.body)["fault"])


# --- any world ---

REVISIONS = st.integers(0, 2)
FAULTS = st.sampled_from(("",) * 10 + (NAMED, SILENT))


class World(tuple[Resource, ...]):
    """Resources that show themselves in few words when a test fails."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "\n".join(["World", *(shown(resource) for resource in self)])


def shown(resource: Resource) -> str:
    """Such as ``RDS out/shop/a #1 -> out/shop/a/80``."""
    content = json.loads(resource.body)
    refers = " ".join(name for _, name in content["references"])
    kind = type_urls.SHORT_NAMES[resource.type_url]
    return f"{kind} {resource.name} #{content['revision']} {content['fault']} -> {refers}"


@st.composite
def worlds(draw: st.DrawFn, faults: bool = True) -> World:
    """A consistent set of resources; with `faults` some are such that the client refuses them."""
    fault = FAULTS if faults else st.just("")
    clusters = draw(_clusters(fault))
    names = sorted(r.name for r in clusters if r.type_url == CDS)
    some = st.sets(st.sampled_from(names), min_size=1)
    found = [*clusters, outbound(draw(REVISIONS), draw(fault))]
    used = sorted(draw(st.sets(st.sampled_from(ROUTES), min_size=1)))
    found += [routes(r, *draw(some), revision=draw(REVISIONS), fault=draw(fault)) for r in used]
    found += [
        scope(f"scope/{s}", draw(st.sampled_from(used))) for s in sorted(draw(st.sets(HOSTS, min_size=1)))
    ]
    for name in sorted(draw(st.sets(st.sampled_from(("tls/x", "tls/x.y"))))):
        found += [made(SDS, name, draw(REVISIONS), (), draw(fault))]
        refers = [(SDS, name), (RDS, draw(st.sampled_from(used)))]
        found += [made(LDS, f"gateway/{name}", draw(REVISIONS), refers, draw(fault))]
    if draw(st.booleans()):
        found += [
            made(LDS, "upstream/9", draw(REVISIONS), [(CDS, draw(st.sampled_from(names)))], draw(fault))
        ]
    return World(found)


HOSTS = st.sampled_from(("a", "a.shop", "b"))


@st.composite
def _clusters(draw: st.DrawFn, fault: st.SearchStrategy[str]) -> list[Resource]:
    found = []
    for name in sorted(draw(st.sets(st.sampled_from(SERVICES), min_size=1))):
        found += [cluster(name, draw(REVISIONS), draw(fault)), endpoints(name, draw(REVISIONS), draw(fault))]
        if draw(st.booleans()):
            found += [cluster(name + VARIANT, draw(REVISIONS), draw(fault), assignment=name)]
    members = [r.name for r in found if r.type_url == CDS]
    if draw(st.booleans()):
        chosen = draw(st.sets(st.sampled_from(members), min_size=1))
        found.insert(0, made(CDS, "fb/shop/a/80", draw(REVISIONS), [(CDS, m) for m in chosen], draw(fault)))
    return found


def snapshot(generation: int, *resources: Resource) -> Snapshot:
    """A snapshot without dangling references."""
    built = Snapshot.build(generation, resources)
    assert not built.missing_references()
    return built
