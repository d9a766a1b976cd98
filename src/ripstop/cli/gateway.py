"""`ripstop gateway`: one proxy for many services."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ripstop.cli.connect import DataPlaneOption, NamespaceOption, ServerOption, StateOption
from ripstop.cli.run import sidecar_settings


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("gateway")(gateway)


def gateway(
    name: Annotated[str, typer.Argument(help="The Gateway document's name.")],
    address: Annotated[
        str, typer.Option(help="The address at which sidecars reach it (egress).")
    ] = "127.0.0.1",
    inbound_port: Annotated[int, typer.Option(help="Its port for sidecars (egress); 0: a free one.")] = 0,
    instance: Annotated[
        str, typer.Option(help="The instance's name; made up when left out.", show_default=False)
    ] = "",
    metrics_port: Annotated[
        int, typer.Option(help="Port of Prometheus metrics on loopback; 0: a free one.")
    ] = 0,
    access_log: Annotated[
        Path | None, typer.Option(help="Append the JSON access log to this file.", show_default=False)
    ] = None,
    lease: Annotated[float, typer.Option(help="Seconds after which a dead gateway disappears.")] = 15.0,
    data_plane: DataPlaneOption = "",
    namespace: NamespaceOption = "default",
    state: StateOption = None,
    server: ServerOption = "",
) -> None:
    """Run a gateway: what it listens on is the Gateway document of the same name.

    \b
    Examples:
      ripstop gateway edge
      ripstop gateway edge --namespace shop --access-log edge.log
    """
    from ripstop.model.workload import NodeKind
    from ripstop.proxy.told import Told, become_agent

    values = {
        "name": name,
        "namespace": namespace,
        "instance": instance,
        "kind": NodeKind.GATEWAY,
        "address": address,
        "inbound_port": inbound_port,
        "lease_s": lease,
        "data_plane": data_plane,
    }
    become_agent(Told(settings=sidecar_settings(values, state, server, access_log, metrics_port)))
