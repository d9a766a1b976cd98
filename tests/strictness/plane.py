"""The native data plane with one listener, for raw bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oracle.case import CASES, Cluster, case
from oracle.planes import Plane
from oracle.upstreams import Script


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


def native(directory: Path) -> Plane:
    return Plane("native", directory, TABLE)
