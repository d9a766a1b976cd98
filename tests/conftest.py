"""What all tests share: a mesh of real processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from ripstop.testing import LocalMesh

# No test depends on how fast the machine is; a failure prints what reproduces it.
settings.register_profile(
    "ripstop", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow], max_examples=60
)
settings.load_profile("ripstop")


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    """A control plane of this module's own, with whatever its tests start."""
    with LocalMesh(tmp_path_factory.mktemp("mesh")) as started:
        yield started
