"""Envoy as a child process: found, started, asked over its admin socket, restarted when it dies, stopped last."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib.util
import os
import shutil
import signal
import sys
from pathlib import Path

import httpx
import structlog

from ripstop.errors import Unavailable

READY_S = 30.0
STOP_S = 5.0
LOG_TAIL = 12
_PR_SET_PDEATHSIG = 1

log = structlog.get_logger("ripstop.envoy")


def find_envoy() -> Path:
    """The Envoy to run: RIPSTOP_ENVOY, the one that `pip install ripstop[envoy]` brings, or the PATH's.

    Raises:
        Unavailable: there is none.
    """
    given = os.environ.get("RIPSTOP_ENVOY")
    spec = importlib.util.find_spec("envoy")
    packaged = (
        [Path(place) / "_bin" / "envoy" for place in (spec.submodule_search_locations or ())] if spec else []
    )
    on_path = shutil.which("envoy")
    for path in (Path(given) if given else None, *packaged, Path(on_path) if on_path else None):
        if path is not None and os.access(path, os.X_OK):
            return path
    raise Unavailable(
        "there is no Envoy to run", cure="pip install 'ripstop[envoy]', or set RIPSTOP_ENVOY to an Envoy 1.40"
    )


def _die_with_parent() -> None:
    """The sidecar of a dead agent must not live on: nobody would renew its certificate or its lease (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Envoy:
    """One Envoy. `directory` is ours alone; its log is there, its access log goes to `access_log`."""

    def __init__(self, directory: Path, config: Path, access_log: Path | None) -> None:
        self._directory, self._config, self._access_log = directory, config, access_log
        self._process: asyncio.subprocess.Process | None = None
        self.admin_socket = directory / "admin.sock"
        transport = httpx.AsyncHTTPTransport(uds=str(self.admin_socket))
        self._admin = httpx.AsyncClient(transport=transport, base_url="http://admin", timeout=5.0)

    @property
    def log_file(self) -> Path:
        """Envoy's own log."""
        return self._directory / "envoy.log"

    async def start(self) -> None:
        """Start the process."""
        with contextlib.suppress(FileNotFoundError):
            self.admin_socket.unlink()
        command = [
            str(find_envoy()),
            "--config-path",
            str(self._config),
            "--disable-hot-restart",
            "--log-level",
            os.environ.get("RIPSTOP_ENVOY_LOG_LEVEL", "warning"),
            "--concurrency",
            os.environ.get("RIPSTOP_ENVOY_CONCURRENCY", "1"),
            "--file-flush-interval-msec",
            "1000",
            "--drain-time-s",
            "5",
            "--drain-strategy",
            "immediate",
        ]
        out = self._access_log.open("ab") if self._access_log else None
        with self.log_file.open("ab") as err:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out or asyncio.subprocess.DEVNULL,
                stderr=err,
                start_new_session=True,  # Ctrl-C in a terminal is for the application, the sidecar dies last
                preexec_fn=_die_with_parent,
            )
        if out:
            out.close()

    async def wait_ready(self, ports: tuple[tuple[str, int], ...], timeout_s: float = READY_S) -> None:
        """Wait until Envoy has its first configuration and listens on `ports`.

        Raises:
            Unavailable: it died, or is not ready in time; the end of its log is told.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        while asyncio.get_running_loop().time() < deadline:
            if self._process is None or self._process.returncode is not None:
                raise Unavailable(f"Envoy ended at once:\n{self.log_tail()}", cure="see what its log says")
            if await self._is_live() and all([await is_open(host, port) for host, port in ports]):
                return
            await asyncio.sleep(0.02)
        raise Unavailable(
            f"the sidecar got no configuration in {timeout_s:.0f} s:\n{self.log_tail()}",
            cure="check that the control plane's ADS address can be reached from here (`ripstop up --ads`)",
        )

    async def _is_live(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return (await self._admin.get("/ready")).status_code == 200
        return False

    def log_tail(self) -> str:
        """The last lines of Envoy's log."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-LOG_TAIL:])
        return ""

    async def ask(self, path: str, *, post: bool = False) -> str:
        """Ask the admin interface; empty when it does not answer."""
        with contextlib.suppress(httpx.HTTPError):
            response = await (self._admin.post(path) if post else self._admin.get(path))
            return response.text
        return ""

    async def wait(self) -> int:
        """Wait until the process ends; its code."""
        assert self._process is not None
        return await self._process.wait()

    async def supervise(self) -> None:
        """Start it again whenever it dies, for ever; a little later each time."""
        delay = 0.1
        while True:
            started = asyncio.get_running_loop().time()
            code = await self.wait()
            log.error("envoy_died", code=code, log=self.log_tail())
            if asyncio.get_running_loop().time() - started > 60:
                delay = 0.1
            await asyncio.sleep(delay)
            delay = min(delay * 2, 10.0)
            await self.start()

    async def stop(self) -> None:
        """Ask it to end, then make it."""
        await self._admin.aclose()
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()


async def is_open(host: str, port: int) -> bool:
    """Whether something listens there."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 1.0)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def exec_envoy(config: Path) -> None:
    """Become Envoy with a bootstrap file (`ripstop proxy --data-plane envoy`).

    Raises:
        Unavailable: there is no Envoy.
    """
    sys.stdout.flush()
    path = find_envoy()
    os.execv(path, [str(path), "--config-path", str(config), "--disable-hot-restart"])  # noqa: S606
