"""Every golden is taken by a real Envoy: no type is NACKed, every listener opens."""

from __future__ import annotations

from dataclasses import replace

import pytest
from compiler_scenarios import SCENARIOS, Scenario
from envoy_peer import EnvoyPeer
from mesh_worlds import Ports

from ripstop.compiler import Compiler
from ripstop.model.policy import MeshSettings
from ripstop.model.workload import NodeKind

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]
LOUD = MeshSettings(access_log=True)


# gRPC clients have listeners that are no sockets; test_grpc_client.py asks one.
FOR_ENVOY = [
    scenario for scenario in SCENARIOS if scenario.make(lambda port: port)[1].kind is not NodeKind.GRPC
]


@pytest.mark.parametrize("scenario", FOR_ENVOY, ids=lambda scenario: scenario.name)
async def test_a_real_envoy_takes_every_resource(
    scenario: Scenario, peer: EnvoyPeer, local_ports: Ports
) -> None:
    topology, node = scenario.make(local_ports)
    await peer.takes(Compiler().compile(replace(topology, mesh=LOUD), node))
