"""What all tests share: a mesh of real processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from ripstop.model.workload import DataPlaneKind
from ripstop.testing import LocalMesh

# No test depends on how fast the machine is; a failure prints what reproduces it.
settings.register_profile(
    "ripstop", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow], max_examples=60
)
settings.load_profile("ripstop")


@pytest.fixture(scope="session", params=list(DataPlaneKind), ids=lambda kind: kind.value)
def data_plane(request: pytest.FixtureRequest) -> DataPlaneKind:
    """Every test that starts a mesh runs on both; a directory whose tests do not care has its own of one."""
    kind: DataPlaneKind = request.param
    return kind


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, data_plane: DataPlaneKind) -> Iterator[LocalMesh]:
    """A control plane of this module's own, with whatever its tests start."""
    with LocalMesh(tmp_path_factory.mktemp("mesh"), data_plane=data_plane) as started:
        yield started
