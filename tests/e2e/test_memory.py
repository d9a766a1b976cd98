"""An agent lives as long as its application, and there is one beside each: it is small."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from ripstop.model.workload import DataPlaneKind
from ripstop.testing import Instance, LocalMesh
from ripstop.testing.memory import SidecarMemory, is_told, libraries, sidecar_memory

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not is_told(), reason="this kernel does not tell what processes hold"),
]
SIDECAR_MB = 40.0
AGENT_MB = 32.0
NOT_FOR_AGENTS = (
    "grpc",
    "google",
    "cryptography",
    "pydantic_core",
    "_core.abi3",
    "rpds",
    "uvloop",
    "httptools",
)
"""Parts of paths of extensions. Typer, rich and httpx have none: what they would add shows in the agent's size."""


@pytest.fixture(scope="module")
def idle(mesh: LocalMesh) -> Instance:
    return mesh.run("idle")


def settled(instance: Instance, is_so: Callable[[SidecarMemory], bool]) -> SidecarMemory:
    """Its memory once it is what is wanted, or after some seconds."""
    deadline = time.monotonic() + 10
    while not is_so(found := sidecar_memory(instance.process.pid)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def test_an_agent_is_small(idle: Instance) -> None:
    found = settled(idle, lambda memory: memory.agent_mb <= AGENT_MB)
    assert 1.0 < found.agent_mb <= AGENT_MB
    assert found.data_plane_mb > 1.0


def test_an_idle_sidecar_is_small_in_all(idle: Instance, data_plane: DataPlaneKind) -> None:
    if data_plane is not DataPlaneKind.NATIVE:
        pytest.skip("the bound is for the native data plane")
    found = settled(idle, lambda memory: sum(memory) <= SIDECAR_MB)
    assert sum(found) <= SIDECAR_MB


def test_an_agent_has_not_loaded_what_it_needs_for_its_start_alone(idle: Instance) -> None:
    loaded = libraries(idle.process.pid)
    assert any("/_socket." in path for path in loaded), loaded
    assert [path for path in loaded for part in NOT_FOR_AGENTS if part in path] == []


def test_a_renewed_certificate_leaves_nothing_behind(mesh: LocalMesh) -> None:
    mesh.apply(
        "apiVersion: ripstop.dev/v1\nkind: Mesh\nmetadata: {name: mesh}\nspec: {identity: {svidTtl: 8s}}\n"
    )
    renewing = mesh.run("renewing")
    time.sleep(10)
    assert renewing.client.get("http://renewing/").status_code == 200
    assert [path for path in libraries(renewing.process.pid) for part in NOT_FOR_AGENTS if part in path] == []
    assert settled(renewing, lambda memory: memory.agent_mb <= AGENT_MB).agent_mb <= AGENT_MB
