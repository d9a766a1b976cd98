"""From a command to its agent: what options said is written down and read by a process that knows little else.

The command line is parsed with everything that makes it pleasant; the agent that comes of it lives as long as its
application and must be small. So the command becomes the agent by execve(2): the process, its parent, its terminal and its
environment stay, what was imported goes. What was told is in a file that is on no disk (memfd_create(2)).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ripstop.model.registration_json import registration_of_ours, registration_to_json
from ripstop.proxy.control_client import Place
from ripstop.proxy.memory import AgentMemory
from ripstop.proxy.program import python_file
from ripstop.proxy.run import ENDING, Command
from ripstop.proxy.sidecar import SidecarSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What an agent does: run a command beside its sidecar, or (None) a gateway. `says_ready`: tell where things are."""

    settings: SidecarSettings
    command: Command | None = None
    says_ready: bool = True


def become_agent(told: Told) -> NoReturn:
    """Be the agent from now on. Signals that ask it to end wait until it has begun."""
    descriptor = os.memfd_create("agent", 0)
    with open(descriptor, "w", closefd=False) as file:
        json.dump(_to_json(told) | {"path": sys.path}, file)
    os.lseek(descriptor, 0, os.SEEK_SET)
    words = python_file(Path(__file__).with_name("agent.py"), str(descriptor), *sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    os.execv(words[0], words)  # noqa: S606


def told_of(value: Any) -> Told:
    """Read what `become_agent` wrote."""
    settings, command = value["settings"], value["command"]
    log, memory = settings["access_log"], settings["memory"]
    return Told(
        settings=SidecarSettings(
            registration=registration_of_ours(settings["registration"]),
            place=Place.from_json(settings["place"]),
            token=settings["token"],
            access_log=Path(log) if log else None,
            metrics_port=settings["metrics_port"],
            memory=AgentMemory(Path(memory)) if memory else None,
        ),
        command=Command(tuple(command["words"]), command["grace_s"]) if command else None,
        says_ready=value["says_ready"],
    )


def _to_json(told: Told) -> dict[str, Any]:
    settings, command = told.settings, told.command
    return {
        "settings": {
            "registration": registration_to_json(settings.registration),
            "place": settings.place.to_json(),
            "token": settings.token,
            "access_log": str(settings.access_log) if settings.access_log else None,
            "metrics_port": settings.metrics_port,
            "memory": str(settings.memory.directory) if settings.memory else None,
        },
        "command": {"words": command.words, "grace_s": command.grace_s} if command else None,
        "says_ready": told.says_ready,
    }
