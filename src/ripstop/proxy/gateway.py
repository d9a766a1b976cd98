"""`ripstop gateway`: a data plane for many services, without an application beside it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from ripstop.model.workload import Health
from ripstop.proxy.run import ENDING
from ripstop.proxy.sidecar import Sidecar, SidecarSettings

PEERS_KNOW_S = 2.0
DRAIN_S = 5.0


async def run_gateway(settings: SidecarSettings, ready: Callable[[Sidecar], None]) -> int:
    """Run until SIGINT or SIGTERM; 0. SIGHUP restarts the data plane by hand-over.

    Raises:
        RipstopError: the data plane cannot be had.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    sidecar = Sidecar(settings)
    sidecar.restart_on(signal.SIGHUP)
    start = asyncio.create_task(sidecar.start())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({start, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if start.done():
            await start
            await sidecar.register(Health.HEALTHY)
            ready(sidecar)
            await stopping
            await sidecar.deregister(PEERS_KNOW_S)
            await sidecar.drain(DRAIN_S)
    finally:
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
        await asyncio.shield(_gone(sidecar))
    return 0


async def _gone(sidecar: Sidecar) -> None:
    await sidecar.deregister(0.0)
    await sidecar.stop()
