"""`ripstop top`: the same, live."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from ripstop.cli.connect import JsonOption, ServerOption, StateOption, connect
from ripstop.cli.edges import edge_row
from ripstop.cli.output import show_json

if TYPE_CHECKING:
    from rich.table import Table


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("top")(top)


def top(
    window: Annotated[float, typer.Option(min=1, max=120, help="Seconds to look back.")] = 5.0,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Show one picture and end.")] = False,
    state: StateOption = None,
    server: ServerOption = "",
    json: JsonOption = False,
) -> None:
    """Watch every edge live: rate, success, latency, retries, ejections, breaker, mTLS. Ctrl-C ends it.

    \b
    Examples:
      ripstop top
      ripstop top --window 30
    """
    with connect(state, server) as client:

        def look() -> list[dict[str, object]]:
            rows: list[dict[str, object]] = client.get("/v1/signals", window_s=window)["edges"]
            return rows

        if json or once or not sys.stdout.isatty():
            _plain(look(), json=json)
            return
        from rich.live import Live

        try:
            with Live(_table(look()), refresh_per_second=4, screen=True) as live:
                while True:
                    time.sleep(every)
                    live.update(_table(look()))
        except KeyboardInterrupt:
            return


def _plain(rows: list[dict[str, object]], *, json: bool) -> None:
    if json:
        show_json(rows)
        return
    from rich.console import Console

    Console(width=180 if not sys.stdout.isatty() else None).print(_table(rows))


def _table(rows: list[dict[str, object]]) -> Table:
    from rich.table import Table

    table = Table(box=None, title="ripstop top", title_justify="left")
    for name in ("source", "destination", "seen by"):
        table.add_column(name)
    for name in ("rps", "success", "p50", "p90", "p99", "retries", "ejected"):
        table.add_column(name, justify="right")
    for name in ("breaker", "mtls", "codes"):
        table.add_column(name)
    for row in sorted(rows, key=lambda r: -float(str(r["rate"]))):
        bad = float(str(row["success_percent"])) < 99 or row["breaker"] == "open"
        table.add_row(*edge_row(row), style="red" if bad else "")
    return table
