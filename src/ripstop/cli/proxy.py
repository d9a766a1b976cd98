"""`ripstop proxy`: a data plane from a bootstrap file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("proxy")(proxy)


def proxy(
    config: Annotated[Path, typer.Option(help="An Envoy bootstrap: .yaml, .json or .pb.")],
    data_plane: Annotated[str, typer.Option(help="Which data plane: envoy.")] = "envoy",
) -> None:
    """Run a data plane from an Envoy bootstrap, in place of this process.

    \b
    Examples:
      ripstop proxy --config bootstrap.yaml --data-plane envoy
    """
    from ripstop.errors import NotFound, RipstopError
    from ripstop.proxy.envoy import exec_envoy

    if data_plane != "envoy":
        cure = "use --data-plane envoy; the native one is not built yet"
        raise RipstopError(f"there is no data plane {data_plane!r}", cure=cure)
    if not config.is_file():
        raise NotFound(f"{config} is no file", cure="name an Envoy bootstrap")
    exec_envoy(config)
