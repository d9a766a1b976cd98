"""`ripstop run`: ready before the command, signals pass, callers are told first, the exit code is the command's."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from ripstop.testing import Instance, LocalMesh

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def web(mesh: LocalMesh) -> Instance:
    return mesh.run("web")


def ripstop(mesh: LocalMesh, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ripstop", *words]
    return subprocess.run(
        command, env=mesh.env, capture_output=True, text=True, check=False, timeout=60, **options
    )  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize(("command", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143)])
def test_the_exit_code_is_the_commands(mesh: LocalMesh, command: str, code: int) -> None:
    assert ripstop(mesh, "run", "job", "--quiet", "--", "sh", "-c", command).returncode == code


def test_a_command_that_is_not_there(mesh: LocalMesh) -> None:
    done = ripstop(mesh, "run", "job", "--quiet", "--", "/no/such/command")
    assert (done.returncode, "command not found" in done.stderr) == (127, True)


def test_the_sidecar_is_ready_before_the_command_starts(mesh: LocalMesh, web: Instance) -> None:
    done = ripstop(mesh, "run", "job", "--quiet", "--", "curl", "-sf", "http://web/first")
    assert done.returncode == 0, done.stderr
    assert '"path": "/first"' in done.stdout


def test_the_command_does_not_see_the_join_token(mesh: LocalMesh) -> None:
    done = ripstop(mesh, "run", "job", "--quiet", "--", "env")
    assert "http_proxy=http://127.0.0.1:" in done.stdout
    assert "RIPSTOP_TOKEN" not in done.stdout


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_signals_pass(mesh: LocalMesh, tmp_path: Path, number: signal.Signals) -> None:
    seen, ready = tmp_path / "seen", tmp_path / "ready"
    script = (
        "import pathlib, signal, time\n"
        f"signal.signal({int(number)}, lambda *_: pathlib.Path({str(seen)!r}).touch())\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "time.sleep(30)\n"
    )
    job = mesh.run("job", "--quiet", command=[sys.executable, "-c", script], port=0, wait=False)
    mesh.wait(ready.exists, "the command did not start")
    job.process.send_signal(number)
    mesh.wait(seen.exists, "the signal did not arrive", 10)
    job.stop()


@pytest.mark.parametrize("words", [("run", "early", "--", "true"), ("gateway", "early")])
def test_a_start_is_given_up_when_asked(mesh: LocalMesh, tmp_path: Path, words: tuple[str, ...]) -> None:
    """The command has just become the agent, which waits for a control plane that is not there."""
    absent = mesh.env | {"RIPSTOP_SERVER": str(tmp_path / "no.sock"), "XDG_RUNTIME_DIR": str(tmp_path)}
    starting = subprocess.Popen([sys.executable, "-m", "ripstop", *words], env=absent)
    is_agent = Path(f"/proc/{starting.pid}/cmdline")
    mesh.wait(lambda: b"agent.py" in is_agent.read_bytes(), "it did not become an agent")
    starting.send_signal(signal.SIGTERM)
    assert starting.wait(20) == (143 if words[0] == "run" else 0)
    assert list(tmp_path.glob("ripstop-*")) == []


def test_an_instance_from_elsewhere_comes_with_a_token_and_stays_by_its_certificate(mesh: LocalMesh) -> None:
    made = ripstop(mesh, "token", "create", "--service", "remote")
    token = next(word for word in made.stdout.split() if word.startswith("rst1."))
    mesh.env["RIPSTOP_TOKEN"] = token
    try:
        remote = mesh.run("remote", "--lease", "3")
    finally:
        del mesh.env["RIPSTOP_TOKEN"]
    time.sleep(5)  # more than its lease: it is renewed by TLS
    assert remote.client.get("http://remote/").status_code == 200
    assert any("/remote/" in n["node"] and n["is_current"] for n in mesh.get("/v1/nodes")["nodes"])


def test_no_caller_sees_an_instance_go(mesh: LocalMesh, web: Instance) -> None:
    """One of two instances is stopped under load: not one error."""
    first, _ = mesh.run("backend"), mesh.run("backend")
    statuses: list[int] = []
    stop = threading.Event()

    def call() -> None:
        with httpx.Client(proxy=f"http://127.0.0.1:{web.outbound_port}", timeout=10) as client:
            while not stop.is_set():
                statuses.append(client.get("http://backend/").status_code)

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    time.sleep(1)
    assert first.stop() == 143  # the echo application ends by SIGTERM
    time.sleep(1)
    stop.set()
    for caller in callers:
        caller.join()
    assert len(statuses) > 50
    assert set(statuses) == {200}, [s for s in statuses if s != 200]


def test_no_caller_sees_a_host_die(mesh: LocalMesh, web: Instance) -> None:
    """One of two is gone without a word (kill -9 of agent, application and sidecar): calls go to the other."""
    first, second = mesh.run("store"), mesh.run("store")
    first.kill()
    answers = [web.client.get("http://store/") for _ in range(40)]
    assert {a.status_code for a in answers} == {200}
    assert {a.json()["instance"] for a in answers} == {second.instance}


def test_a_dead_host_disappears_with_its_lease(mesh: LocalMesh) -> None:
    gone = mesh.run("brief", "--lease", "2")
    gone.kill()

    def is_gone() -> bool:
        return not any("/brief/" in n["node"] for n in mesh.get("/v1/nodes")["nodes"])

    mesh.wait(is_gone, "the lease did not end", 15)


def test_the_mesh_runs_on_without_its_control_plane(mesh: LocalMesh, web: Instance) -> None:
    mesh.run("steady")
    before = {n["node"] for n in mesh.get("/v1/nodes")["nodes"] if n["registration"]}
    mesh.stop_control_plane(kill=True)
    assert {web.client.get("http://steady/").status_code for _ in range(20)} == {200}
    mesh.start_control_plane()
    assert before <= {n["node"] for n in mesh.get("/v1/nodes")["nodes"]}, "a registration was forgotten"
    assert {web.client.get("http://steady/").status_code for _ in range(20)} == {200}
    mesh.wait(
        lambda: any(
            n["node"].startswith("default/steady/") and n["is_current"]
            for n in mesh.get("/v1/nodes")["nodes"]
        ),
        "the sidecars did not come back",
        60,
    )
