"""Restarts of a data plane by its agent, and the processes that there are."""

from __future__ import annotations

from pathlib import Path

from tests.load import eventually

from ripstop.proxy.run import RESTARTS_DATA_PLANE
from ripstop.testing import Instance


def restart(instance: Instance, number: int = RESTARTS_DATA_PLANE) -> None:
    """Restart an instance's data plane, and wait until the new one is alone."""
    (before,) = data_planes(instance)
    instance.process.send_signal(number)

    def is_done() -> bool:
        now = data_planes(instance)
        return len(now) == 1 and now != {before}

    eventually(is_done, f"the data plane was not replaced\n{instance.log.read_text()}")


def data_planes(instance: Instance) -> set[int]:
    """The processes of data planes that an agent has started."""
    pid = instance.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found = set()
    for child in children:
        try:
            if "ripstop-proxy" in Path(f"/proc/{child}/comm").read_text():
                found.add(int(child))
        except OSError:
            continue  # it has just ended
    return found
