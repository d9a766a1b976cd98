"""Every case on both data planes: what client, upstream, access log and counters saw must be the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import cases
from .case import CASES, Case
from .compare import difference, lines, observation
from .intended import ALWAYS, INTENDED, OPEN, settle
from .planes import Plane, missing, run

assert cases


def chosen(config: pytest.Config) -> list[Case]:
    """The cases that `-k` leaves: others need not be acted."""
    wanted = config.getoption("keyword") or ""
    simple = wanted.replace("_", "").isalnum()
    return [case for name, case in CASES.items() if not simple or wanted in name] or list(CASES.values())


@pytest.fixture(scope="module")
def seen(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[dict[str, dict[str, Any]]]:
    """Observations by data plane and case."""
    if why := missing():
        pytest.skip(why)
    directory = tmp_path_factory.mktemp("oracle")
    yield asyncio.run(observe(directory, chosen(request.config)))


async def observe(directory: Path, table: list[Case]) -> dict[str, dict[str, Any]]:
    planes = [Plane(name, directory / name, table) for name in ("envoy", "native")]
    try:
        for plane in planes:
            await plane.start()
        await run(planes, table)
        found: dict[str, dict[str, Any]] = {}
        counters = {plane.name: plane.counters() for plane in planes}
        if not counters["native"]:
            counters = {"envoy": {}, "native": {}}
        for plane in planes:
            found[plane.name] = {case.name: observation(plane, case, counters[plane.name]) for case in table}
            process = plane.process
            assert process and process.poll() is None, f"{plane.name} ended: {plane.output()}"
        return found
    finally:
        for plane in planes:
            await plane.stop()


@pytest.mark.envoy
@pytest.mark.parametrize("name", list(CASES))
def test_both_data_planes_do_the_same(seen: dict[str, dict[str, Any]], name: str) -> None:
    envoy, native = seen["envoy"][name], seen["native"][name]
    envoy, native = settle(envoy, native, [*ALWAYS, *INTENDED.get(name, [])])
    assert "fault" not in envoy, f"the case itself does not work: {envoy['fault']}"
    found = difference(envoy, native)
    if name in OPEN:
        assert found, f"{name} is the same now: take it out of OPEN"
        pytest.xfail(OPEN[name])
    whole = "\n".join(lines(envoy))
    assert not found, f"{found}\n\nall that Envoy did:\n{whole}"
