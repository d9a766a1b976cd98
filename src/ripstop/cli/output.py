"""What commands print: tables for people, JSON for programs, refusals with their cure."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from ripstop.errors import Fault, RipstopError


def show_json(value: Any) -> None:
    """Print a value for programs."""
    print(json.dumps(value, indent=2, sort_keys=False, default=str))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str = "nothing") -> None:
    """Print rows for people. Columns that start with ``>`` are aligned to the right."""
    lines = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not lines:
        print(empty)
        return
    titles = [column.removeprefix(">") for column in columns]
    widths = [max(len(line[i]) for line in [titles, *lines]) for i in range(len(titles))]
    for line in [titles, *lines]:
        cells = [
            cell.rjust(width) if column.startswith(">") else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ]
        print("  ".join(cells).rstrip())


def show_error(error: RipstopError) -> None:
    """Tell a refusal on stderr."""
    print(error.told(), file=sys.stderr)


def show_faults(faults: Iterable[Fault]) -> None:
    """Tell faults on stderr, each with its place and cure."""
    for fault in faults:
        print(fault, file=sys.stderr)


def ago(seconds: float) -> str:
    """A time span as people say it: ``42s``, ``5m``, ``3h``, ``2d``."""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(0, seconds):.0f}s"


def number(value: float | None, digits: int = 1) -> str:
    """A number, or a dash."""
    return "-" if value is None else f"{value:.{digits}f}"
