"""The control plane is gone for a while, and comes back: calls go on, and what starts meanwhile knows what it knew."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from restarts import data_planes, restart
from tests.load import Load, eventually

from ripstop.model.workload import DataPlaneKind
from ripstop.testing import Instance, LocalMesh

pytestmark = pytest.mark.e2e
AWAY_S = 4.0


def test_no_call_fails_while_the_control_plane_is_away_and_when_it_is_back(mesh: LocalMesh) -> None:
    mesh.run("quiet")
    caller = mesh.run("caller")
    with Load("http://quiet/", caller.outbound_port) as load:
        load.wait_for(50)
        mesh.stop_control_plane(kill=True)
        time.sleep(AWAY_S)
        load.wait_for(50)
        mesh.start_control_plane()
        eventually(lambda: _is_current(mesh, "quiet"), "the sidecars did not come back", 60)
        load.wait_for(50)
    assert load.failures == []


def _is_current(mesh: LocalMesh, service: str) -> bool:
    nodes = mesh.get("/v1/nodes")["nodes"]
    return any(n["node"].startswith(f"default/{service}/") and n["is_current"] for n in nodes)


@pytest.fixture
def native(data_plane: DataPlaneKind) -> None:
    if data_plane is not DataPlaneKind.NATIVE:
        pytest.skip("Envoy keeps nothing on disk")


@pytest.mark.usefixtures("native")
def test_instances_that_start_while_the_control_plane_is_away_call_and_are_called(mesh: LocalMesh) -> None:
    """The callee's host lost its power, the caller was stopped; both are started again without a control plane."""
    callee = mesh.run("callee", instance="callee-kept")
    caller = mesh.run("comer", instance="comer-kept")
    assert caller.client.get("http://callee/").status_code == 200
    eventually(lambda: len(_kept(mesh, "snapshot")) == 2, "the snapshots were not kept")
    callee.kill()
    caller.stop()
    mesh.stop_control_plane(kill=True)
    started = [_again(mesh, callee), _again(mesh, caller)]
    eventually(lambda: _calls(started[1], "callee") == 200, mesh.logs())
    mesh.start_control_plane()
    for instance in started:
        mesh.wait_registered(instance)
    assert _calls(started[1], "callee") == 200


def _again(mesh: LocalMesh, before: Instance) -> Instance:
    return mesh.run(
        before.name,
        instance=before.instance,
        port=before.port,
        outbound_port=before.outbound_port,
        wait=False,
    )


def _calls(caller: Instance, service: str) -> int:
    with httpx.Client(proxy=f"http://127.0.0.1:{caller.outbound_port}", timeout=5) as client:
        return client.get(f"http://{service}/").status_code


def _kept(mesh: LocalMesh, name: str) -> list[str]:
    return [str(path) for path in sorted((mesh.state / "agents").glob(f"*/*/*-kept/{name}"))]


@pytest.mark.usefixtures("native")
def test_a_data_plane_that_dies_without_its_control_plane_comes_back_as_it_was(
    mesh: LocalMesh,
) -> None:
    mesh.run("steadfast")
    caller = mesh.run("patient")
    assert caller.client.get("http://steadfast/").status_code == 200
    (before,) = data_planes(caller)
    _wait_saved(before, "steadfast")
    mesh.stop_control_plane(kill=True)
    try:
        os.kill(before, signal.SIGKILL)
        eventually(lambda: _calls(caller, "steadfast") == 200, "it did not come back")
        restart(caller)
        assert data_planes(caller) != {before}
    finally:
        mesh.start_control_plane()
    mesh.wait_registered(caller)


def _wait_saved(data_plane: int, service: str) -> None:
    """What it runs is on disk: a change is written within a second, with those that came meanwhile."""
    words = Path(f"/proc/{data_plane}/cmdline").read_text().split("\0")
    snapshot = Path(words[words.index("--snapshot") + 1])
    eventually(lambda: snapshot.is_file() and service.encode() in snapshot.read_bytes(), "it was not kept")
    time.sleep(2.5)


@pytest.mark.usefixtures("native")
def test_what_an_instance_keeps_is_for_its_user_alone(mesh: LocalMesh) -> None:
    mesh.run("secretive", instance="secretive-kept")
    place = mesh.state / "agents" / "default" / "secretive" / "secretive-kept"
    eventually((place / "snapshot").is_file, "the snapshot was not kept")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [place, *place.iterdir()]}
    assert modes == {place.name: 0o700, "agent.json": 0o600, "snapshot": 0o600}


@pytest.mark.usefixtures("native")
def test_an_instance_without_a_name_of_its_own_keeps_nothing(mesh: LocalMesh) -> None:
    before = set((mesh.state / "agents").glob("*/*/*"))
    command = [sys.executable, "-m", "ripstop", "run", "job", "--quiet", "--", "true"]
    subprocess.run(command, env=mesh.env, check=True, timeout=60)
    assert set((mesh.state / "agents").glob("*/*/*")) == before
