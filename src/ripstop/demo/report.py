"""What the scenes came to, for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Measured = int | float | str


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold: what was expected in words, and what was counted."""

    what: str
    expected: str
    measured: Measured
    held: bool


@dataclass(frozen=True, slots=True)
class SceneResult:
    """A scene at its end. `failure` says why it could not be played to the end."""

    name: str
    title: str
    checks: tuple[Check, ...]
    took_s: float
    failure: str = ""

    @property
    def held(self) -> bool:
        """Whether it was played and every check held."""
        return not self.failure and bool(self.checks) and all(check.held for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """As the report has it."""
        return {
            "name": self.name,
            "title": self.title,
            "held": self.held,
            "expected": {check.what: check.expected for check in self.checks},
            "measured": {check.what: check.measured for check in self.checks},
            "failed_checks": [check.what for check in self.checks if not check.held],
            "failure": self.failure,
            "took_s": round(self.took_s, 1),
        }


def all_held(results: Sequence[SceneResult], wanted: int) -> bool:
    """Whether all `wanted` scenes were played and held."""
    return len(results) == wanted and all(result.held for result in results)


def report(
    results: Sequence[SceneResult], wanted: int, load: dict[str, Any], took_s: float
) -> dict[str, Any]:
    """The whole report as JSON values."""
    return {
        "held": all_held(results, wanted),
        "scenes_wanted": wanted,
        "scenes": [result.to_json() for result in results],
        "load": load,
        "took_s": round(took_s, 1),
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a report; its directory is made when it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")
