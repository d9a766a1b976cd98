"""h2spec, the conformance test of HTTP/2 (RFC 9113) and HPACK (RFC 7541), against the native data plane."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from oracle.case import CASES, Cluster, case
from oracle.upstreams import Script

from .plane import native

MODULE = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"


@case(manager={"codec_type": "HTTP2"}, clusters={"up": Cluster([Script()])})
async def h2spec_listener(_: Any) -> None:
    pass


TABLE = [CASES.pop("h2spec_listener")]


def h2spec(directory: Path) -> str:
    """The program: H2SPEC, the one on the PATH, or built by Go; the test is skipped where there is none."""
    if found := os.environ.get("H2SPEC") or shutil.which("h2spec"):
        return found
    if go := shutil.which("go"):
        env = {**os.environ, "GOBIN": str(directory), "GOFLAGS": "-mod=mod"}
        words = [go, "install", MODULE]
        built = subprocess.run(words, env=env, capture_output=True, check=False, timeout=150)
        if built.returncode == 0:
            return str(directory / "h2spec")
    pytest.skip("there is no h2spec here, and Go did not build it: set H2SPEC")


async def test_every_case_of_h2spec_passes(tmp_path: Path) -> None:
    program = await asyncio.to_thread(h2spec, tmp_path)
    plane = native(tmp_path, TABLE)
    await plane.start()
    try:
        port = plane.stages["h2spec_listener"].port
        words = ["--host", "127.0.0.1", "--port", str(port), "--timeout", "5", "--strict"]
        running = await asyncio.create_subprocess_exec(
            program, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await asyncio.wait_for(running.communicate(), 150)
    finally:
        await plane.stop()
    text = said.decode(errors="replace")
    counts = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", text)
    assert counts, text
    assert int(counts[1]) > 140 and counts[4] == "0", text
