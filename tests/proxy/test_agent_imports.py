"""What an agent imports is what it weighs, beside every application, for as long as that runs."""

from __future__ import annotations

import subprocess
import sys

FOR_OTHERS = (
    "grpc",
    "google.protobuf",
    "envoy",
    "pydantic",
    "cryptography",
    "typer",
    "click",
    "rich",
    "structlog",
    "httpx",
    "ruamel",
    "prometheus_client",
    "fastapi",
    "dns",
)


def test_an_agent_imports_nothing_that_only_its_start_or_the_control_plane_needs() -> None:
    parts = "agent, connections, gateway, golden, maker, ready, run, sds, sidecar, told"
    code = f"import sys; from ripstop.proxy import {parts}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "ripstop.proxy.sidecar" in loaded
    assert [name for name in FOR_OTHERS if name in loaded] == []
