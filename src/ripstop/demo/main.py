"""`ripstop demo`: set the shop up, play the scenes, tell what came of them, take it down."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from ripstop.demo.load import Load
from ripstop.demo.mesh import ShopMesh
from ripstop.demo.processes import DemoFailed
from ripstop.demo.report import Check, SceneResult, all_held, report, write
from ripstop.demo.scenes import SCENES, Scene, Stage
from ripstop.demo.table import WINDOW_S, Screen, edges_of
from ripstop.model.workload import DEFAULT_DATA_PLANE, DataPlaneKind

SCENE_MAX_S = 180.0
REFRESH_S = 1.0
SOUND_PAGES = 20
INTERRUPTED = 130


def run_demo(
    *, report: Path | None, keep: bool, quick: bool, data_plane: DataPlaneKind = DEFAULT_DATA_PLANE
) -> int:
    """Play all scenes; the exit code: 0 when every one held, 1 when not, 130 when interrupted.

    `report` is where the counts go as JSON; `keep` leaves the shop running until Ctrl-C; `quick` measures for shorter.
    """
    with contextlib.suppress(asyncio.CancelledError):
        return asyncio.run(_demo(report, data_plane, is_kept=keep, is_quick=quick))
    return INTERRUPTED


async def _demo(file: Path | None, data_plane: DataPlaneKind, *, is_kept: bool, is_quick: bool) -> int:
    """Play in a directory of its own; it is left, for its logs, only when something did not hold."""
    _stop_on_signals()
    directory = Path(tempfile.mkdtemp(prefix="ripstop-demo-"))
    held = True
    try:
        with Screen() as screen:
            mesh = ShopMesh(directory, data_plane)
            held = await _play_in(mesh, screen, file, is_kept=is_kept, is_quick=is_quick)
            if not held:
                screen.say(f"logs: {directory / 'logs'}")
    finally:
        if held:
            shutil.rmtree(directory, ignore_errors=True)
    return 0 if held else 1


async def _play_in(
    mesh: ShopMesh, screen: Screen, file: Path | None, *, is_kept: bool, is_quick: bool
) -> bool:
    """Start all, play all, report all; whether every scene held."""
    began, results = time.monotonic(), list[SceneResult]()
    try:
        async with _running(mesh, screen) as load:
            await _play_all(Stage(mesh, load, screen.say, is_quick), screen, results)
            took_s = time.monotonic() - began
            if file is not None:
                asked = load.totals().to_json() | {"held_back": load.held_back}
                write(file, report(results, len(SCENES), asked, took_s))
            _tell_end(screen, results, took_s)
            if is_kept:
                await _keep(mesh, screen)
    except DemoFailed as failed:
        screen.say(f"{failed.message}\n  {failed.cure}", "bold red")
    return all_held(results, len(SCENES))


def _stop_on_signals() -> None:
    """Ctrl-C, SIGTERM and a closed terminal end the demo: everything it started is stopped, at the second one at once."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


@contextlib.asynccontextmanager
async def _running(mesh: ShopMesh, screen: Screen) -> AsyncIterator[Load]:
    """The mesh with its customers and the live table; all is stopped at the end, however it comes."""
    screen.say(
        f"starting a control plane, a gateway and {mesh.nodes - 1} instances, each with a sidecar"
        f" (data plane: {mesh.data_plane}) …"
    )
    try:
        await mesh.start()
        async with Load(mesh.gateway_url) as load:
            await mesh.until(lambda: _is_sound(load), "customers get whole pages")
            load.start()
            table = asyncio.create_task(_keep_table(mesh, screen))
            try:
                yield load
            finally:
                table.cancel()
    finally:
        screen.say("stopping …")
        await mesh.stop()


async def _is_sound(load: Load) -> bool:
    return (await load.ask(SOUND_PAGES)).broken == 0


async def _keep_table(mesh: ShopMesh, screen: Screen) -> None:
    while True:
        if rows := await mesh.api.edges(WINDOW_S):
            screen.show(edges_of(rows))
        await asyncio.sleep(REFRESH_S)


async def _play_all(stage: Stage, screen: Screen, results: list[SceneResult]) -> None:
    """Play one scene after the other; one that fails does not keep the next from being played."""
    for number, scene in enumerate(SCENES, start=1):
        screen.say(f"{number} {scene.name}: {scene.title}", "bold")
        result = await _play(stage, scene)
        results.append(result)
        for check in result.checks:
            _tell(screen, check)
        if result.failure:
            screen.say(f"   ✗ {result.failure}", "red")


async def _play(stage: Stage, scene: Scene) -> SceneResult:
    began, checks, failure = time.monotonic(), list[Check](), ""
    try:
        async with asyncio.timeout(SCENE_MAX_S):
            checks = await scene.play(stage)
    except (DemoFailed, TimeoutError, OSError) as failed:
        failure = str(failed) or f"it was not over after {SCENE_MAX_S:.0f} s"
    return SceneResult(scene.name, scene.title, tuple(checks), time.monotonic() - began, failure)


def _tell(screen: Screen, check: Check) -> None:
    mark, style = ("✓", "green") if check.held else ("✗", "red")
    screen.say(f"   {mark} {check.what}: {check.measured} (expected: {check.expected})", style)


def _tell_end(screen: Screen, results: list[SceneResult], took_s: float) -> None:
    held = sum(result.held for result in results)
    style = "bold green" if held == len(SCENES) else "bold red"
    screen.say(f"{held} of {len(SCENES)} scenes held, in {took_s:.0f} s", style)


async def _keep(mesh: ShopMesh, screen: Screen) -> None:
    """Tell how to look around, and wait for Ctrl-C."""
    for line in (
        "the shop keeps running until Ctrl-C:",
        f"  customers:  curl {mesh.gateway_url}/    (also /checkout, /orders; header x-user: beta)",
        f"  operators:  export RIPSTOP_STATE={mesh.state.path}",
        "              ripstop status; ripstop top; ripstop edges",
        f"  documents:  {mesh.directory / 'mesh'} (followed: edit them)",
        f"  logs:       {mesh.logs}",
        """  faults:     curl -d '{"status": 500}' (or {"delay_s": 3}, or {}) to one of""",
        *(f"    {name + ':':17}http://127.0.0.1:{port}/_fault" for name, port in mesh.ports.items()),
    ):
        screen.say(line)
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
