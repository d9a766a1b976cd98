"""`ripstop stat` and `ripstop edges`: golden signals, without Prometheus."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ripstop.cli.connect import JsonOption, ServerOption, StateOption, connect
from ripstop.cli.output import number, show_json, show_table

WindowOption = Annotated[float, typer.Option(min=1, max=120, help="Seconds to look back.")]
NO_TRAFFIC = "no requests in this time"


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("stat")(stat)
    app.command("edges")(edges)


def stat(
    window: WindowOption = 10.0,
    state: StateOption = None,
    server: ServerOption = "",
    json: JsonOption = False,
) -> None:
    """Show requests, success and latency of each service, as its own sidecars saw them.

    \b
    Examples:
      ripstop stat
      ripstop stat --window 60 --json
    """
    with connect(state, server) as client:
        found = client.get("/v1/signals", window_s=window)
    if json:
        show_json(found["services"])
        return
    columns = ("SERVICE", ">RPS", ">SUCCESS", ">P50", ">P90", ">P99", "CODES")
    rows = [(r["destination"], *signals_of(r), codes_of(r)) for r in found["services"]]
    show_table(columns, rows, empty=NO_TRAFFIC)


def edges(
    window: WindowOption = 10.0,
    state: StateOption = None,
    server: ServerOption = "",
    json: JsonOption = False,
) -> None:
    """Show the same by caller and callee, seen from both sides, with retries, ejections, breakers and mTLS.

    \b
    Examples:
      ripstop edges
      ripstop edges --json
    """
    with connect(state, server) as client:
        found = client.get("/v1/signals", window_s=window)
    if json:
        show_json(found["edges"])
        return
    columns = (
        "SOURCE",
        "DESTINATION",
        "SEEN BY",
        ">RPS",
        ">SUCCESS",
        ">P50",
        ">P90",
        ">P99",
        ">RETRIES",
        ">EJECTED",
        "BREAKER",
        "MTLS",
        "CODES",
    )
    show_table(columns, [edge_row(row) for row in found["edges"]], empty=NO_TRAFFIC)


def signals_of(row: dict[str, Any]) -> tuple[str, ...]:
    """Rate, success and latency of a row."""
    times = (
        f"{number(row[key])}ms" if row[key] is not None else "-" for key in ("p50_ms", "p90_ms", "p99_ms")
    )
    return (number(row["rate"]), f"{row['success_percent']:.2f}%", *times)


def codes_of(row: dict[str, Any]) -> str:
    """Statuses and response flags with their counts."""
    codes = [f"{code}:{count:.0f}" for code, count in row["codes"].items()]
    return " ".join([*codes, *(f"{flag}:{count:.0f}" for flag, count in row["flags"].items())])


def edge_row(row: dict[str, Any]) -> tuple[str, ...]:
    """One edge as cells."""
    is_caller = row["seen_by"] == "outbound"
    stands = (
        (f"{row['retries']:.0f}", f"{row['ejected']:.0f}", row["breaker"]) if is_caller else ("-", "-", "-")
    )
    return (
        row["source"],
        row["destination"],
        "caller" if is_caller else "callee",
        *signals_of(row),
        *stands,
        "yes" if row["mtls"] else "no",
        codes_of(row),
    )
