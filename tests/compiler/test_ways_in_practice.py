"""What `Snapshot.match` says of a request is what a data plane does with it: random routes and requests, on both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from envoy_peer import EnvoyPeer, envoy_peer, free_port, native_peer
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_worlds import endpoints, external, mesh_routes, node, rule, sid, to, topology

from ripstop._core import Match, Snapshot
from ripstop.compiler import Compiler
from ripstop.model.topology import (
    Filters,
    HeaderChange,
    HttpMatch,
    HttpRule,
    PathChange,
    Redirect,
    Rewrite,
    Topology,
    ValueMatch,
)
from ripstop.model.workload import DataPlaneKind
from ripstop.xds import names

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]
BACKENDS = ("a", "b", "c")
DEADLINE_S = 20.0


# --- what is drawn ---

paths = st.lists(st.sampled_from(["x", "y", "xy", "X"]), max_size=2).map(lambda parts: "/" + "/".join(parts))
header_matches = st.builds(
    ValueMatch,
    name=st.just("x-a"),
    value=st.sampled_from(["1", "2", "[12]", "1.*"]),
    kind=st.sampled_from(["exact", "regex"]),
)
query_matches = st.builds(ValueMatch, name=st.just("q"), value=st.sampled_from(["1", "2"]))
matches = st.builds(
    HttpMatch,
    path_kind=st.sampled_from(["exact", "prefix", "regex"]),
    path=paths,
    method=st.sampled_from(["", "", "GET", "POST"]),
    headers=st.lists(header_matches, max_size=1).map(tuple),
    query=st.lists(query_matches, max_size=1).map(tuple),
)


@st.composite
def rules(draw: st.DrawFn, number: int) -> HttpRule:
    match = draw(matches)
    name = f"HTTPRoute/default/shop/{number}/0"
    kinds = ["ReplaceFullPath"] if match.path_kind != "prefix" else ["ReplaceFullPath", "ReplacePrefixMatch"]
    change = st.none() | st.builds(
        PathChange, kind=st.sampled_from(kinds), value=st.sampled_from(["/", "/new", "/new/"])
    )
    host = draw(st.sampled_from(["", "elsewhere.test"]))
    path = draw(change)
    if draw(st.integers(0, 4)) == 0:
        redirect = Redirect(scheme=draw(st.sampled_from(["", "https"])), hostname=host, path=path)
        return rule(name, match=match, filters=Filters(redirect=redirect))
    rewrite = Rewrite(hostname=host, path=path) if host or path else None
    tag = HeaderChange(set=(("x-tag", name),)) if draw(st.booleans()) else None
    backends = draw(st.lists(st.sampled_from(BACKENDS), min_size=1, max_size=2, unique=True))
    filters = Filters(rewrite=rewrite, request_headers=tag)
    return rule(name, *(to(backend) for backend in backends), match=match, filters=filters)


@dataclass(frozen=True)
class Request:
    method: str
    authority: str
    path: str
    headers: tuple[tuple[str, str], ...]


requests = st.builds(
    Request,
    method=st.sampled_from(["GET", "GET", "POST", "PUT"]),
    authority=st.sampled_from(["shop", "shop:80", "shop.default", "SHOP", "shop:81", "nobody"]),
    path=st.builds(
        lambda path, extra, query: path + extra + query,
        paths,
        st.sampled_from(["", "", "/", "/.", "/../x", "//y", "/%78", "/a%2Fb"]),
        st.sampled_from(["", "?q=1", "?q=2&q=1", "?z"]),
    ),
    headers=st.lists(st.tuples(st.just("x-a"), st.sampled_from(["1", "12", "3"])), max_size=2).map(tuple),
)
rule_lists = st.integers(1, 4).flatmap(lambda n: st.tuples(*(rules(number) for number in range(n))))


# --- who is asked ---


class Upstreams:
    """A server for each backend; its answer says who it is and what it saw."""

    def __init__(self) -> None:
        self.ports: dict[str, int] = {}
        self._servers: list[asyncio.Server] = []

    async def start(self) -> None:
        for name in BACKENDS:
            server = await asyncio.start_server(lambda r, w, n=name: self._serve(n, r, w), "127.0.0.1", 0)
            self.ports[name] = server.sockets[0].getsockname()[1]
            self._servers.append(server)

    async def _serve(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            head = ""
        if head:
            writer.write(self._answer(name, head))
            await writer.drain()
        writer.close()

    @staticmethod
    def _answer(name: str, head: str) -> bytes:
        line, *fields = head.strip().split("\r\n")
        seen = fields_of(fields)
        told = {
            "name": name,
            "path": line.split(" ")[1],
            "host": seen["host"],
            "tag": seen.get("x-tag"),
        }
        body = json.dumps(told).encode()
        return f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body

    def stop(self) -> None:
        for server in self._servers:
            server.close()


def fields_of(lines: list[str]) -> dict[str, str]:
    pairs = (line.partition(": ") for line in lines)
    return {name.lower(): value for name, _, value in pairs}


async def ask(port: int, request: Request) -> tuple[int, str, Any]:
    """(status, location, what the upstream told)."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in request.headers)
    head = f"{request.method} {request.path} HTTP/1.1\r\nhost: {request.authority}\r\n{fields}"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{head}content-length: 0\r\nconnection: close\r\n\r\n".encode())
    async with asyncio.timeout(DEADLINE_S):
        line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        found = fields_of(lines)
        # Not to the end of the connection: Envoy keeps it for a second after an answer of its own.
        body = (await reader.readexactly(int(found.get("content-length", "0")))).decode()
    writer.close()
    told = json.loads(body) if body.startswith("{") else None
    return int(line.split(" ")[1]), found.get("location", ""), told


@dataclass
class Peer:
    """A data plane that runs what it is given."""

    peer: EnvoyPeer
    upstreams: Upstreams
    port: int
    data_plane: DataPlaneKind
    generation: int = 0

    async def takes(self, drawn: tuple[HttpRule, ...]) -> Snapshot:
        """Have it run rules, and the core's view of the same bytes."""
        self.generation += 1
        marker = rule(
            "HTTPRoute/default/shop/marker/0",
            match=HttpMatch(path_kind="exact", path=f"/marker/{self.generation}"),
            filters=Filters(redirect=Redirect(hostname="here.test")),
        )
        # All backends are there all the time: a cluster that comes is waited for by Envoy, and examples would take seconds.
        keep = HttpMatch(path_kind="exact", path="/keep")
        every = rule("HTTPRoute/default/shop/keep/0", *(to(name) for name in BACKENDS), match=keep)
        made = self._world((marker, every, *drawn))
        caller = node("caller", lambda _: self.port, app_port=0, data_plane=self.data_plane)
        snapshot = Compiler().compile(made, caller)
        assert await self.peer.control.push(snapshot) == []
        await self._runs(f"/marker/{self.generation}")
        resources = (r for by_name in snapshot.resources.values() for r in by_name.values())
        core = Snapshot([(r.type_url, r.body) for r in resources])
        assert core.faults == []
        return core

    def _world(self, listed: tuple[HttpRule, ...]) -> Topology:
        services = [external("shop"), *(external(name) for name in BACKENDS)]
        instances = {name: endpoints("", f"127.0.0.1:{self.upstreams.ports[name]}") for name in BACKENDS}
        routes = [mesh_routes("shop", *listed)]
        return topology(services, instances, routes=routes, generation=self.generation)

    async def _runs(self, marker: str) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    status, location, _ = await ask(self.port, Request("GET", "shop", marker, ()))
                except OSError:
                    status, location = 0, ""
                if status == 302 and "here.test" in location:
                    return
                await asyncio.sleep(0.02)


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=list(DataPlaneKind), ids=lambda kind: kind.value
)
async def data_plane(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Peer]:
    start = envoy_peer if request.param is DataPlaneKind.ENVOY else native_peer
    upstreams = Upstreams()
    await upstreams.start()
    async with start(tmp_path_factory.mktemp("peer")) as started:
        yield Peer(started, upstreams, free_port(), request.param)
    upstreams.stop()


# --- the property ---


@settings(max_examples=12)
@given(drawn=rule_lists, asked=st.lists(requests, min_size=1, max_size=12))
async def test_requests_go_where_the_core_says(
    data_plane: Peer, drawn: tuple[HttpRule, ...], asked: list[Request]
) -> None:
    core = await data_plane.takes(drawn)
    for request in asked:
        expected = core.match(
            "outbound", request.method, request.authority, request.path, request.headers, remote="127.0.0.1:9"
        )
        assert differences(expected, await ask(data_plane.port, request)) == [], (request, expected.as_dict())


def differences(expected: Match, seen: tuple[int, str, Any]) -> list[str]:
    status, location, told = seen
    if expected.forward is None or not expected.forward.is_known:
        same = (status, location) == (expected.status, expected.location)
        return [] if same else [f"{status} {location}, not {expected.status} {expected.location}"]
    if told is None:
        return [f"{status}, not {expected.forward.cluster}"]
    forward = expected.forward
    backends = {name.service for cluster, _ in forward.shares if (name := names.parse_cluster(cluster))}
    tag = dict(forward.headers).get("x-tag")
    checks = {
        "backend": sid(told["name"]) in backends,
        "path": told["path"] == forward.path,
        "host": told["host"] == forward.authority,
        "tag": told["tag"] == tag,
    }
    return [f"{part} of {told}" for part, holds in checks.items() if not holds]
