"""The load: wrk for HTTP/1.1, h2load for HTTP/2, pinned to the CPU of the backend."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

_UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6}


@dataclass(frozen=True, kw_only=True)
class Load:
    """Requests without pause on `connections`, each with `streams` at a time (more than one: HTTP/2)."""

    connections: int = 64
    path: str = "/"
    is_h2: bool = False
    streams: int = 1
    closes: bool = False
    """A new connection for each request."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the load saw: answers, those that were not 2xx or broke, and microseconds until half and 99 % came."""

    requests: int
    failed: int
    per_s: float
    p50_us: float
    p99_us: float


def run(load: Load, port: int, seconds: int, cpu: int) -> Outcome:
    """Load a port of loopback for some seconds."""
    url = f"http://127.0.0.1:{port}{load.path}"
    command = _h2load(load, seconds) if load.is_h2 else _wrk(load, seconds)
    done = subprocess.run(
        ["taskset", "-c", str(cpu), *command, url], capture_output=True, text=True, check=False
    )
    outcome = (_read_h2load if load.is_h2 else _read_wrk)(done.stdout)
    if outcome is None:
        raise SystemExit(f"{command[0]} failed:\n{done.stdout[-1000:]}{done.stderr[-1000:]}")
    return outcome


def _wrk(load: Load, seconds: int) -> list[str]:
    words = ["wrk", "-t", "1", "-c", str(load.connections), "-d", f"{seconds}s", "--latency"]
    return [*words, "-H", "Connection: close"] if load.closes else words


def _h2load(load: Load, seconds: int) -> list[str]:
    words = ["h2load", "-D", str(seconds), "-c", str(load.connections), "-m", str(load.streams)]
    return [*words, "--warm-up-time=0"]


def _read_wrk(text: str) -> Outcome | None:
    count = re.search(r"(\d+) requests in", text)
    if count is None:
        return None
    failed = sum(int(found) for found in re.findall(r"Non-2xx or 3xx responses: (\d+)", text))
    for broken in re.findall(r"Socket errors: (.*)", text):
        failed += sum(int(number) for number in re.findall(r"\d+", broken))
    return Outcome(
        requests=int(count[1]),
        failed=failed,
        per_s=_number(r"Requests/sec:\s+([\d.]+)", text),
        p50_us=_time(r"^ +50% +(\S+)", text),
        p99_us=_time(r"^ +99% +(\S+)", text),
    )


def _read_h2load(text: str) -> Outcome | None:
    counts = re.search(r"requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored", text)
    if counts is None:
        return None
    return Outcome(
        requests=int(counts[1]),
        failed=int(counts[2]) + int(counts[3]),
        per_s=_number(r"finished in [^,]+, ([\d.]+) req/s", text),
        p50_us=_time(r"time for request:\s+\S+\s+\S+\s+(\S+)", text),  # the mean: h2load tells no median
        p99_us=_time(r"time for request:\s+\S+\s+(\S+)", text),  # the longest
    )


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    return float(found[1]) if found else 0.0


def _time(pattern: str, text: str) -> float:
    found = re.search(pattern, text, re.MULTILINE)
    parts = re.fullmatch(r"([\d.]+)(us|ms|s|m)", found[1]) if found else None
    return float(parts[1]) * _UNITS[parts[2]] if parts else 0.0
