"""Who may what is the control plane's business: one data plane will do."""

from __future__ import annotations

import pytest

from ripstop.model.workload import DEFAULT_DATA_PLANE, DataPlaneKind


@pytest.fixture(scope="session")
def data_plane() -> DataPlaneKind:
    return DEFAULT_DATA_PLANE
