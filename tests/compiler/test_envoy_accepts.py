"""Every golden is taken by a real Envoy: no type is NACKed, every listener opens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from compiler_scenarios import SCENARIOS, Scenario
from envoy_peer import EnvoyPeer, envoy_peer, free_port

from ripstop.compiler import Compiler
from ripstop.model.policy import MeshSettings
from ripstop.model.workload import NodeKind
from ripstop.xds import type_urls

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]
DEADLINE_S = 10.0
LOUD = MeshSettings(access_log=True)
_given: dict[int, int] = {}


def free(port: int) -> int:
    return _given.setdefault(port, free_port())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def peer(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EnvoyPeer]:
    async with envoy_peer(tmp_path_factory.mktemp("envoy")) as started:
        yield started


async def _settled(peer: EnvoyPeer, wanted: dict[str, str]) -> dict[str, str]:
    """The listeners once they are as `wanted`, or as they are when it takes too long."""
    found: dict[str, str] = {}
    for _ in range(int(DEADLINE_S / 0.1)):
        found = await asyncio.to_thread(peer.listeners)
        if found == wanted:
            break
        await asyncio.sleep(0.1)
    return found


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_a_real_envoy_takes_every_resource(scenario: Scenario, peer: EnvoyPeer) -> None:
    topology, node = scenario.make(free)
    if node.kind is NodeKind.GRPC:
        pytest.skip("gRPC clients have listeners that are no sockets; test_grpc_client.py asks one")
    snapshot = Compiler().compile(replace(topology, mesh=LOUD), node)
    generation = max(peer.control.acked, default=0) + 1
    nacks = await peer.control.push(replace(snapshot, generation=generation))
    assert nacks == []
    wanted = dict.fromkeys(snapshot.of_type(type_urls.LISTENER), "active")
    assert await _settled(peer, wanted) == wanted, peer.log.read_text()[-3000:]
