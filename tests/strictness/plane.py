"""The native data plane with one listener, for raw bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from oracle.case import CASES, Cluster, case
from oracle.planes import Plane, native_binary
from oracle.upstreams import Script

from ripstop.errors import Unavailable


@case(
    manager={
        "http_protocol_options": {"accept_http_10": True, "allow_absolute_url": True},
        "upgrade_configs": [{"upgrade_type": "CONNECT"}],
    },
    clusters={"up": Cluster([Script()])},
)
async def strictness(_: Any) -> None:
    pass


TABLE = [CASES.pop("strictness")]


def native(directory: Path, table: list[Any] = TABLE) -> Plane:
    """The plane, not started; the test is skipped where there is none."""
    try:
        native_binary()
    except Unavailable as why:
        pytest.skip(str(why))
    return Plane("native", directory, table)
