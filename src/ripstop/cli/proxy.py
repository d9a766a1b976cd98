"""`ripstop proxy`: a data plane from a bootstrap file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ripstop.cli.connect import DataPlaneOption, data_plane_of


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("proxy")(proxy)


def proxy(
    config: Annotated[Path, typer.Option(help="An Envoy bootstrap: .yaml, .json or .pb.")],
    data_plane: DataPlaneOption = "",
    concurrency: Annotated[int, typer.Option(min=1, help="Data threads.")] = 1,
    memory_limit_mb: Annotated[
        int | None,
        typer.Option(
            min=32,
            show_default=False,
            help="Memory in MiB from 85 % of which load is shed: of the native data plane what is resident, which never "
            "exceeds it (default: 1024, or three quarters of the container's limit when that is less); of Envoy the "
            "heap (default: none).",
        ),
    ] = None,
) -> None:
    """Run a data plane from an Envoy bootstrap, in place of this process.

    \b
    Examples:
      ripstop proxy --config bootstrap.yaml --data-plane native
      ripstop proxy --config bootstrap.yaml --data-plane envoy --concurrency 4
      ripstop proxy --config bootstrap.yaml --memory-limit-mb 64
    """
    from ripstop.model.workload import DataPlaneKind
    from ripstop.proxy import envoy, native
    from ripstop.proxy.bootstrap_file import read_bootstrap

    kind = data_plane_of(data_plane)
    bootstrap = read_bootstrap(config)
    if kind is DataPlaneKind.ENVOY:
        command = envoy.proxy_command(config, concurrency, memory_limit_mb)
    else:
        command = native.proxy_command(_held(bootstrap), concurrency, memory_limit_mb)
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606


def _held(content: bytes) -> Path:
    """A file that is on no disk and lives as long as the process that comes after us (memfd_create(2))."""
    descriptor = os.memfd_create("bootstrap.pb", 0)
    os.write(descriptor, content)
    return Path(f"/proc/self/fd/{descriptor}")
