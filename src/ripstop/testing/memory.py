"""What processes hold of the machine's memory, by Linux's own account."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

BOOTSTRAP = b"bootstrap.pb"
"""In the command of every data plane that an agent starts."""


class SidecarMemory(NamedTuple):
    """In MB."""

    agent_mb: float
    data_plane_mb: float


def is_told() -> bool:
    """Whether this kernel tells (Linux 4.14 and later)."""
    return Path("/proc/self/smaps_rollup").exists()


def pss_mb(pid: int) -> float:
    """A process's memory, shared pages counted by share (proc(5), `smaps_rollup`); 0 when it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def sidecar_memory(agent: int) -> SidecarMemory:
    """Of an agent (`ripstop run`, `gateway`) by its process id, and of its data plane."""
    return SidecarMemory(pss_mb(agent), sum(pss_mb(pid) for pid in children(agent) if _is_data_plane(pid)))


def children(pid: int) -> list[int]:
    """Processes that a process has started (proc(5), `children` of each of its threads)."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _is_data_plane(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return BOOTSTRAP in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def libraries(pid: int) -> set[str]:
    """File names of the shared libraries that a process has loaded; Python's extensions are among them."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    paths = {Path(line.split(maxsplit=5)[5]) for line in lines if ".so" in line}
    return {str(path) for path in paths}
