"""`ripstop demo`: a small shop of services, with faults and load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ripstop.cli.connect import DataPlaneOption, data_plane_of


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    report: Annotated[
        Path | None,
        typer.Option(help="Write the measured counts of every scene as JSON.", show_default=False),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave it running, with the addresses printed.")
    ] = False,
    data_plane: DataPlaneOption = "",
    quick: Annotated[bool, typer.Option("--quick", help="Fewer requests for each scene.")] = False,
) -> None:
    """Start a mesh with a shop of services and walk through its scenes, each verified from measured counts.

    The exit code is 0 only if every scene held.

    \b
    Examples:
      ripstop demo
      ripstop demo --report report.json
      ripstop demo --keep
    """
    from ripstop.demo.main import run_demo

    raise typer.Exit(run_demo(report=report, keep=keep, quick=quick, data_plane=data_plane_of(data_plane)))
