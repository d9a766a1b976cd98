"""`ripstop run`: an application with its sidecar. The sidecar is ready before the application starts and dies after it;
callers are told before it drains; signals pass; the exit code is the application's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

from ripstop.errors import RipstopError
from ripstop.model.workload import Health
from ripstop.proxy import log
from ripstop.proxy.data_plane import is_open
from ripstop.proxy.sidecar import Sidecar, SidecarSettings

PEERS_KNOW_S = 2.0
DRAIN_S = 5.0
PASSED_AT_ONCE = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGCONT)
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
RESTARTS_DATA_PLANE = signal.SIGRTMIN + 1
"""The signals that applications use are theirs."""
COMMAND_NOT_FOUND, CANNOT_EXECUTE = 127, 126


@dataclass(frozen=True, slots=True)
class Command:
    """What to run beside the sidecar, and how long it may take to end once asked."""

    words: tuple[str, ...]
    grace_s: float = 30.0


async def run_command(settings: SidecarSettings, command: Command, ready: Callable[[Sidecar], None]) -> int:
    """Run until the command ends; its exit code (128 + N when signal N ended it).

    Raises:
        RipstopError: the sidecar cannot be had; the command was not started.
    """
    ending: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in ENDING:
        loop.add_signal_handler(number, ending.put_nowait, number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    sidecar = Sidecar(settings)
    sidecar.restart_on(RESTARTS_DATA_PLANE)
    start = asyncio.create_task(sidecar.start())
    try:
        interrupted = asyncio.create_task(ending.get())
        done, _ = await asyncio.wait({start, interrupted}, return_when=asyncio.FIRST_COMPLETED)
        if interrupted in done:
            start.cancel()
            await asyncio.gather(start, return_exceptions=True)
            return 128 + interrupted.result()
        interrupted.cancel()
        await start
        ready(sidecar)
        return await _Application(sidecar, command, ending).run()
    finally:
        await asyncio.shield(_gone(sidecar))


async def _gone(sidecar: Sidecar) -> None:
    """However it ended, nobody is left to call this instance."""
    await sidecar.deregister(0.0)
    await sidecar.stop()


class _Application:
    """The command, from its start to its end."""

    def __init__(self, sidecar: Sidecar, command: Command, ending: asyncio.Queue[int]) -> None:
        self._sidecar, self._command, self._ending = sidecar, command, ending
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> int:
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command.words, env=self._environment()
            )
        except FileNotFoundError:
            print(f"ripstop: {self._command.words[0]}: command not found", file=sys.stderr)
            return COMMAND_NOT_FOUND
        except OSError as error:
            print(f"ripstop: {self._command.words[0]}: {error.strerror}", file=sys.stderr)
            return CANNOT_EXECUTE
        self._pass_signals(self._process)
        registering = asyncio.create_task(self._register_when_open())
        ended = asyncio.create_task(self._process.wait())
        asked = asyncio.create_task(self._asked_to_end())
        try:
            await asyncio.wait({ended, asked}, return_when=asyncio.FIRST_COMPLETED)
            registering.cancel()
            if not ended.done():
                await self._end(asked.result(), ended)
            code = await ended
        finally:
            for task in (registering, ended, asked):
                task.cancel()
        return code if code >= 0 else 128 - code

    def _environment(self) -> dict[str, str]:
        """Calls by any HTTP client go through the sidecar, but not those to this host itself."""
        r = self._sidecar.registration
        env = dict(os.environ)
        env.pop("RIPSTOP_TOKEN", None)  # a secret that the application has no use for
        if r.outbound_port:
            proxy = f"http://127.0.0.1:{r.outbound_port}"
            env |= {
                "HTTP_PROXY": proxy,
                "http_proxy": proxy,
                "RIPSTOP_OUTBOUND": f"127.0.0.1:{r.outbound_port}",
            }
            for name in ("NO_PROXY", "no_proxy"):
                env[name] = ",".join(filter(None, [env.get(name), "localhost", "127.0.0.1", "::1"]))
        env |= {
            "RIPSTOP_SERVICE": str(r.node.service_id),
            "RIPSTOP_INSTANCE": r.node.instance,
            "RIPSTOP_VERSION": r.version,
        }
        if r.app_port:
            env.setdefault("PORT", str(r.app_port))
        return env

    def _pass_signals(self, process: asyncio.subprocess.Process) -> None:
        loop = asyncio.get_running_loop()
        for number in PASSED_AT_ONCE:
            loop.add_signal_handler(number, _send, process, number)

    async def _asked_to_end(self) -> int:
        """The first signal that asks us to end. At a terminal the application gets Ctrl-C itself, and decides."""
        while True:
            number = await self._ending.get()
            if number == signal.SIGTERM or not _shares_terminal():
                return number

    async def _register_when_open(self) -> None:
        """Callers are sent here once the application listens."""
        r = self._sidecar.registration
        if not r.app_port:
            return
        while not await is_open("127.0.0.1", r.app_port):  # noqa: ASYNC110 (a foreign process has no event)
            await asyncio.sleep(0.05)
        while True:
            try:
                await self._sidecar.register(Health.HEALTHY)
                return
            except RipstopError as error:
                log.warning("not_registered", reason=error.message, cure=error.cure)
                await asyncio.sleep(1.0)

    async def _end(self, number: int, ended: asyncio.Task[int]) -> None:
        """Callers are told, requests on their way finish, then the application is asked to end."""
        assert self._process is not None
        await self._sidecar.deregister(PEERS_KNOW_S)
        await self._sidecar.drain(DRAIN_S)
        _send(self._process, number)
        grace = asyncio.create_task(asyncio.sleep(self._command.grace_s))
        again = asyncio.create_task(self._ending.get())
        await asyncio.wait({ended, grace, again}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            log.warning("application_killed", grace_s=self._command.grace_s)
            _send(self._process, signal.SIGKILL)
        for task in (grace, again):
            task.cancel()


def _send(process: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def _shares_terminal() -> bool:
    return sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
