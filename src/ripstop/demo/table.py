"""The live table of edges: on a terminal it stays at the bottom, elsewhere it is printed as lines now and then."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

WINDOW_S = 5.0
LINES_EVERY_S = 15.0
COLUMNS = (
    "source", "destination", "req/s", "success", "p50 ms", "p99 ms", "retries", "ejected", "breaker", "mTLS",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Edge:
    """One caller and callee over the last WINDOW_S seconds, as the caller's sidecar saw it."""

    source: str
    destination: str
    rate: float
    success_percent: float
    p50_ms: float | None
    p99_ms: float | None
    retries: int
    ejected: int
    breaker: str
    mtls: bool

    @property
    def cells(self) -> tuple[str, ...]:
        """As the table shows it."""
        return (
            self.source,
            self.destination,
            f"{self.rate:.1f}",
            f"{self.success_percent:.1f}%",
            _ms(self.p50_ms),
            _ms(self.p99_ms),
            str(self.retries),
            str(self.ejected),
            self.breaker,
            "yes" if self.mtls else "no",
        )

    @property
    def style(self) -> str:
        """Red when calls fail, yellow when the mesh had to do something about it."""
        if self.success_percent < 99:
            return "red"
        return "yellow" if self.retries or self.ejected or self.breaker != "closed" else ""


def edges_of(rows: Iterable[Mapping[str, Any]]) -> list[Edge]:
    """Rows of `GET /v1/signals` as callers saw them."""
    return [_edge(row) for row in rows if row["seen_by"] == "outbound"]


def _edge(row: Mapping[str, Any]) -> Edge:
    return Edge(
        source=_short(row["source"]),
        destination=_short(row["destination"]),
        rate=row["rate"],
        success_percent=row["success_percent"],
        p50_ms=row["p50_ms"],
        p99_ms=row["p99_ms"],
        retries=round(row["retries"]),
        ejected=round(row["ejected"]),
        breaker=row["breaker"],
        mtls=row["mtls"],
    )


def _short(name: str) -> str:
    return name.removeprefix("default/")


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def table_of(edges: Iterable[Edge]) -> Table:
    """For the terminal."""
    table = Table(title=f"calls of the last {WINDOW_S:.0f} s", title_justify="left")
    for index, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if index < 2 else "right")
    for edge in edges:
        table.add_row(*edge.cells, style=edge.style)
    return table


def lines_of(edges: Iterable[Edge]) -> list[str]:
    """The same as plain lines."""
    rows = [COLUMNS, *(edge.cells for edge in edges)]
    widths = [max(len(row[index]) for row in rows) for index in range(len(COLUMNS))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


class Screen:
    """What the demo says, and beneath it the table."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._lines_at = 0.0

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def say(self, text: str, style: str = "") -> None:
        """Say one line, above the table."""
        self._console.print(text, style=style or None, markup=False)

    def show(self, edges: list[Edge]) -> None:
        """Show how the calls between services stand."""
        if self._live:
            self._live.update(table_of(edges), refresh=True)
        elif edges and time.monotonic() > self._lines_at + LINES_EVERY_S:
            self._lines_at = time.monotonic()
            for line in lines_of(edges):
                self.say(line)
