"""How commands find the control plane, and the options that all of them share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ripstop.proxy.control_client import ControlClient

StateOption = Annotated[
    Path | None,
    typer.Option("--state", help="The control plane's state directory (RIPSTOP_STATE).", show_default=False),
]
ServerOption = Annotated[
    str,
    typer.Option(
        "--server",
        help="Where the control plane is: a socket's path or https://HOST:PORT (RIPSTOP_SERVER).",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
NamespaceOption = Annotated[str, typer.Option("--namespace", "-n", help="The namespace.")]


def connect(state: Path | None, server: str) -> ControlClient:
    """The client of the control plane that options and environment name."""
    from ripstop.proxy.control_client import ControlClient, find_place
    from ripstop.settings import State

    env = dict(os.environ) | ({"RIPSTOP_SERVER": server} if server else {})
    place, token = find_place(State.of(state), env)
    return ControlClient(place, token="" if env.get("RIPSTOP_TOKEN", "").startswith("rst1.") else token)
