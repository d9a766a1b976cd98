"""The agent's log: lines on stderr in the form of `app.configure_logs`, without the library, which is for the control
plane. Times are UTC. Warnings and errors are told; what goes well is not the application's business."""

from __future__ import annotations

import datetime as dt
import json
import sys
from typing import Any


def warning(event: str, **about: Any) -> None:
    """Tell what somebody may want to look at."""
    _tell("warning", event, about)


def error(event: str, **about: Any) -> None:
    """Tell what somebody has to look at."""
    _tell("error", event, about)


def _tell(level: str, event: str, about: dict[str, Any]) -> None:
    now = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if sys.stderr.isatty():
        words = " ".join(f"{key}={value!r}" for key, value in about.items())
        line = f"{now} [{level:<9}] {event:<30} {words}"
    else:
        line = json.dumps(about | {"event": event, "level": level, "timestamp": now}, default=str)
    print(line, file=sys.stderr, flush=True)
