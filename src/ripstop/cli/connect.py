"""How commands find the control plane, and the options that all of them share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ripstop.model.workload import DataPlaneKind
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
DataPlaneOption = Annotated[
    str,
    typer.Option(
        "--data-plane",
        help="Which data plane: native or envoy (RIPSTOP_DATA_PLANE).",
        show_default=False,
    ),
]
NamespaceOption = Annotated[str, typer.Option("--namespace", "-n", help="The namespace.")]


def connect(state: Path | None, server: str) -> ControlClient:
    """The client of the control plane that options and environment name."""
    from ripstop.proxy.control_client import ControlClient, find_place
    from ripstop.settings import State

    env = dict(os.environ) | ({"RIPSTOP_SERVER": server} if server else {})
    place, token = find_place(State.of(state), env)
    return ControlClient(place, token="" if env.get("RIPSTOP_TOKEN", "").startswith("rst1.") else token)


def data_plane_of(given: str) -> DataPlaneKind:
    """The data plane that an option names, else RIPSTOP_DATA_PLANE, else the default.

    Raises:
        RipstopError: there is none of that name.
    """
    from ripstop.errors import RipstopError
    from ripstop.model.workload import DEFAULT_DATA_PLANE, DataPlaneKind

    word = given or os.environ.get("RIPSTOP_DATA_PLANE", "")
    if not word:
        return DEFAULT_DATA_PLANE
    try:
        return DataPlaneKind(word)
    except ValueError:
        raise RipstopError(f"there is no data plane {word!r}", cure="use native or envoy") from None
