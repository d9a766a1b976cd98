"""What a kind of data plane is to its agent: a program, where it is found, and the words it is started with."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
DRAIN_TIME_S = 5
PROGRAM_VARIABLES = ("RIPSTOP_PROXY", "RIPSTOP_ENVOY")
"""What of the environment says where programs are; a mesh of its own keeps these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The files of a sidecar's data plane. `snapshot` is where it keeps what it accepted, `hand_over` the unix socket at
    which a process takes over from the one before it; None: it does not."""

    bootstrap: Path
    snapshot: Path | None = None
    hand_over: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A data plane's program. `find` raises Unavailable when there is none; `arguments` are those of a sidecar."""

    name: str
    find: Callable[[], Path]
    arguments: Callable[[Files], list[str]]
    """Everything after the program's own path."""
    hands_over: bool = False
    """Whether a new process can take over from a running one."""

    def command(self, files: Files) -> list[str]:
        """The whole command of a sidecar or gateway.

        Raises:
            Unavailable: the program is not here.
        """
        return [str(self.find()), *self.arguments(files)]

    @property
    def log_name(self) -> str:
        """The file that its own log goes to."""
        return f"{self.name.lower()}.log"


def common_arguments() -> list[str]:
    """What Envoy and the native data plane are told in the same words.

    `RIPSTOP_DATA_PLANE_LOG_LEVEL` and `RIPSTOP_DATA_PLANE_CONCURRENCY` change the defaults, a warning and one thread.
    """
    return [
        "--log-level",
        os.environ.get("RIPSTOP_DATA_PLANE_LOG_LEVEL", "warning"),
        "--concurrency",
        os.environ.get("RIPSTOP_DATA_PLANE_CONCURRENCY", "1"),
        "--drain-time-s",
        str(DRAIN_TIME_S),
    ]


def memory_limit_mb() -> int | None:
    """The bound of memory that `RIPSTOP_DATA_PLANE_MEMORY_LIMIT_MB` gives the data plane of a sidecar or gateway."""
    given = os.environ.get("RIPSTOP_DATA_PLANE_MEMORY_LIMIT_MB", "")
    return int(given) if given.isdigit() else None


def first_executable(candidates: list[Path | None]) -> Path | None:
    """The first that may be run."""
    for path in candidates:
        if path is not None and path.is_file() and os.access(path, os.X_OK):
            return path
    return None


def python_file(file: Path, *words: str) -> list[str]:
    """The command that runs a file of ours with this interpreter, no less cut off from its surroundings than we are."""
    flags = [
        flag
        for flag, is_set in (
            ("-I", sys.flags.isolated),
            ("-E", sys.flags.ignore_environment),
            ("-s", sys.flags.no_user_site),
        )
        if is_set
    ]
    return [sys.executable, "-P", *flags, str(file), *words]


def die_with_parent() -> None:
    """The sidecar of a dead agent must not live on: nobody would renew its certificate or its lease (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
