"""A data plane as a child process: started, asked over its admin socket, restarted when it dies, stopped last."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from ripstop.errors import Unavailable
from ripstop.model.workload import DataPlaneKind
from ripstop.proxy import log
from ripstop.proxy.connections import FAILURES, Answer, Connections
from ripstop.proxy.envoy import ENVOY
from ripstop.proxy.native import NATIVE
from ripstop.proxy.program import Files, Program, die_with_parent

READY_S = 30.0
STOP_S = 5.0
TAKE_OVER_S = 60.0
ADMIN_S = 5.0
LOG_TAIL = 12
RESTART_FIRST_S, RESTART_LAST_S, IS_STABLE_AFTER_S = 0.1, 10.0, 60.0

PROGRAMS: dict[DataPlaneKind, Program] = {DataPlaneKind.ENVOY: ENVOY, DataPlaneKind.NATIVE: NATIVE}


class DataPlane:
    """One process. `directory` is ours alone; its log is there, its access log goes to `access_log`."""

    def __init__(self, kind: DataPlaneKind, directory: Path, files: Files, access_log: Path | None) -> None:
        self._program = PROGRAMS[kind]
        self._directory, self._files, self._access_log = directory, files, access_log
        self._process: asyncio.subprocess.Process | None = None
        self._successor: asyncio.subprocess.Process | None = None
        self._changing = asyncio.Lock()
        self.admin_socket = directory / "admin.sock"
        self._admin = Connections.unix(self.admin_socket, ADMIN_S)

    @property
    def log_file(self) -> Path:
        """The data plane's own log."""
        return self._directory / self._program.log_name

    async def start(self) -> None:
        """Start the process.

        Raises:
            Unavailable: its program is not here.
        """
        with contextlib.suppress(FileNotFoundError):
            self.admin_socket.unlink()
        self._process = await self._spawn()

    async def _spawn(self) -> asyncio.subprocess.Process:
        command = self._program.command(self._files)
        out = self._access_log.open("ab") if self._access_log else None
        with self.log_file.open("ab") as err:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out or asyncio.subprocess.DEVNULL,
                stderr=err,
                start_new_session=True,  # Ctrl-C in a terminal is for the application, the sidecar dies last
                preexec_fn=die_with_parent,
            )
        if out:
            out.close()
        return process

    async def restart(self) -> None:
        """Start another process, perhaps of a newer program, that takes over all sockets from this one once it is ready;
        this one ends once its connections have, within the drain time. No call is lost.

        Raises:
            Unavailable: it cannot be done, or the new process did not become ready; the old one goes on.
        """
        async with self._changing:
            old = self._process
            if not self._program.hands_over or old is None or old.returncode is not None:
                raise Unavailable(f"{self._program.name} cannot hand over", cure="use --data-plane native")
            self._successor = new = await self._spawn()
            ends = [asyncio.create_task(process.wait()) for process in (old, new)]
            try:
                done, _ = await asyncio.wait(ends, timeout=TAKE_OVER_S, return_when=asyncio.FIRST_COMPLETED)
                if not done:  # it hangs; by itself it gives up much sooner
                    new.kill()
                    await new.wait()
            finally:
                for end in ends:
                    end.cancel()
            if new.returncode is None:
                self._process, self._successor = new, None
                self._admin.close()  # what is kept leads to the old one
                return
            self._successor = None
            raise Unavailable(
                f"the new {self._program.name} ended with {new.returncode}, the old one goes on:\n{self.log_tail()}",
                cure="see what its log says",
            )

    async def wait_ready(self, ports: tuple[tuple[str, int], ...], timeout_s: float = READY_S) -> None:
        """Wait until it has its first configuration and listens on `ports`.

        Raises:
            Unavailable: it died, or is not ready in time; the end of its log is told.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        while asyncio.get_running_loop().time() < deadline:
            if self._process is None or self._process.returncode is not None:
                raise Unavailable(
                    f"{self._program.name} ended at once:\n{self.log_tail()}", cure="see what its log says"
                )
            if await self._is_live() and all([await is_open(host, port) for host, port in ports]):
                return
            await asyncio.sleep(0.02)
        raise Unavailable(
            f"the sidecar got no configuration in {timeout_s:.0f} s:\n{self.log_tail()}",
            cure="check that the control plane's ADS address can be reached from here (`ripstop up --ads`)",
        )

    async def _is_live(self) -> bool:
        with contextlib.suppress(*FAILURES):
            return (await self._ask("GET", "/ready")).status == 200
        return False

    async def _ask(self, method: str, path: str) -> Answer:
        return await asyncio.to_thread(self._admin.ask, method, path, read_s=ADMIN_S)

    def log_tail(self) -> str:
        """The last lines of its log."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-LOG_TAIL:])
        return ""

    async def ask(self, path: str, *, post: bool = False) -> str:
        """Ask the admin interface; empty when it does not answer."""
        with contextlib.suppress(*FAILURES):
            return (await self._ask("POST" if post else "GET", path)).body.decode(errors="replace")
        return ""

    async def wait(self) -> int:
        """Wait until the process ends; its code."""
        assert self._process is not None
        return await self._process.wait()

    async def supervise(self) -> None:
        """Start it again whenever it dies, for ever; a little later each time."""
        delay = RESTART_FIRST_S
        while True:
            started = asyncio.get_running_loop().time()
            process = self._process
            code = await self.wait()
            async with self._changing:
                if self._process is not process:
                    continue  # another has taken over
            log.error("data_plane_died", program=self._program.name, code=code, log=self.log_tail())
            if asyncio.get_running_loop().time() - started > IS_STABLE_AFTER_S:
                delay = RESTART_FIRST_S
            await asyncio.sleep(delay)
            delay = min(delay * 2, RESTART_LAST_S)
            await self.start()

    async def stop(self) -> None:
        """Ask it to end, then make it."""
        self._admin.close()
        both = (self._process, self._successor)
        await asyncio.gather(*(self._end(process) for process in both if process is not None))

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is not None:
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
