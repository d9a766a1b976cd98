"""One Envoy for all tests of a module, and free ports for it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from envoy_peer import EnvoyPeer, envoy_peer, free_port
from mesh_worlds import Ports


@pytest.fixture(scope="module")
def local_ports() -> Ports:
    """A free port for each port of a scenario; the same one whenever it is asked for."""
    given: dict[int, int] = {}
    return lambda port: given.setdefault(port, free_port())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def peer(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EnvoyPeer]:
    async with envoy_peer(tmp_path_factory.mktemp("envoy")) as started:
        yield started
