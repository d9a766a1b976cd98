"""`ripstop up`: the control plane."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ripstop.cli.connect import StateOption

if TYPE_CHECKING:
    from ripstop.app import Running


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("up")(up)


def up(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]", help="Documents to follow: every edit is applied.", show_default=False
        ),
    ] = None,
    api: Annotated[str, typer.Option(help="HOST:PORT of the API.")] = "127.0.0.1:8470",
    ads: Annotated[str, typer.Option(help="HOST:PORT that data planes connect to.")] = "127.0.0.1:8471",
    advertise: Annotated[
        str, typer.Option(help="The host or address that agents on other hosts use.", show_default=False)
    ] = "",
    trust_domain: Annotated[str, typer.Option(help="The trust domain of all identities.")] = "ripstop.local",
    state: StateOption = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run the control plane, with its certificate authority and its store.

    \b
    Examples:
      ripstop up                    documents come by `ripstop apply`
      ripstop up mesh/              and follow the files of a directory
      ripstop up --api 10.0.0.5:8470 --ads 10.0.0.5:8471 --advertise 10.0.0.5
    """
    from ripstop.app import ControlPlaneSettings, configure_logs, run_control_plane
    from ripstop.errors import RipstopError
    from ripstop.ids import is_trust_domain
    from ripstop.settings import Address, State

    if directory is not None and not directory.is_dir():
        raise RipstopError(f"{directory} is no directory", cure=f"mkdir -p {directory}")
    if not is_trust_domain(trust_domain):
        raise RipstopError(
            f"{trust_domain!r} is no trust domain", cure="use a-z, 0-9, '.', '-', like mesh.example.com"
        )
    configure_logs(level=log_level)
    settings = ControlPlaneSettings(
        state=State.of(state),
        directory=directory,
        api=Address.parse(api),
        ads=Address.parse(ads),
        advertise=advertise,
        trust_domain=trust_domain,
    )
    asyncio.run(run_control_plane(settings, lambda running: _say_where(settings.directory, running)))


def _say_where(directory: Path | None, running: Running) -> None:
    print("ripstop is up", file=sys.stderr)
    print(f"  socket     {running.socket}  (for this user on this host)", file=sys.stderr)
    print(f"  api        https://{running.api}", file=sys.stderr)
    print(f"  ads        {running.ads}", file=sys.stderr)
    if directory is not None:
        print(f"  documents  {directory}/  (followed)", file=sys.stderr)
    print("  next       ripstop run NAME --port PORT -- COMMAND", file=sys.stderr)
