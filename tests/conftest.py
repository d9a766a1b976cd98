"""What all tests share: a mesh of real processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ripstop.testing import LocalMesh


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    """A control plane of this module's own, with whatever its tests start."""
    with LocalMesh(tmp_path_factory.mktemp("mesh")) as started:
        yield started
