"""`ripstop run`: an application with its sidecar."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ripstop.cli.connect import DataPlaneOption, NamespaceOption, ServerOption, StateOption, data_plane_of

if TYPE_CHECKING:
    from ripstop.proxy.control_client import Place
    from ripstop.proxy.memory import Kept
    from ripstop.proxy.sidecar import SidecarSettings
    from ripstop.settings import State


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(
    name: Annotated[str, typer.Argument(help="The service's name.")],
    command: Annotated[
        list[str] | None, typer.Argument(metavar="-- COMMAND…", help="The application.", show_default=False)
    ] = None,
    port: Annotated[
        int, typer.Option(help="The port that the application listens on; 0: it takes no calls.")
    ] = 0,
    protocol: Annotated[str, typer.Option(help="What it speaks: http, http2, grpc or tcp.")] = "http",
    version: Annotated[str, typer.Option(help="Its version: the label `version`.", show_default=False)] = "",
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A label that selectors see.", show_default=False),
    ] = None,
    instance: Annotated[
        str, typer.Option(help="The instance's name; made up when left out.", show_default=False)
    ] = "",
    address: Annotated[
        str, typer.Option(help="The address at which other hosts reach the sidecar.")
    ] = "127.0.0.1",
    inbound_port: Annotated[
        int, typer.Option(help="The sidecar's port for calls by others; 0: a free one.")
    ] = 0,
    outbound_port: Annotated[
        int, typer.Option(help="The sidecar's port for the application's calls; 0: a free one.")
    ] = 0,
    upstream: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SERVICE:PORT=LOCALPORT", help="A local port that leads to a service.", show_default=False
        ),
    ] = None,
    zone: Annotated[
        str, typer.Option(metavar="REGION[/ZONE[/SUBZONE]]", help="Where it runs.", show_default=False)
    ] = "",
    weight: Annotated[int, typer.Option(help="Its share of calls.")] = 1,
    metrics_port: Annotated[
        int, typer.Option(help="Port of Prometheus metrics on loopback; 0: a free one.")
    ] = 0,
    access_log: Annotated[
        Path | None, typer.Option(help="Append the JSON access log to this file.", show_default=False)
    ] = None,
    lease: Annotated[
        float, typer.Option(help="Seconds after which a dead host's instance disappears.")
    ] = 15.0,
    grace: Annotated[float, typer.Option(help="Seconds that the application may take to end.")] = 30.0,
    data_plane: DataPlaneOption = "",
    namespace: NamespaceOption = "default",
    state: StateOption = None,
    server: ServerOption = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing when ready.")] = False,
) -> None:
    """Run a command with its sidecar: registered, identified, drained; the exit code is the command's.

    \b
    Examples:
      ripstop run reviews --port 9080 -- python reviews.py
      ripstop run reviews --port 9081 --version v2 -- python reviews.py
      ripstop run worker --upstream postgres:5432=15432 -- ./worker
      RIPSTOP_TOKEN=rst1.… ripstop run reviews --port 9080 --address 10.0.0.7 -- ./reviews
    """
    from ripstop.errors import RipstopError
    from ripstop.proxy.run import Command
    from ripstop.proxy.told import Told, become_agent

    if not command:
        raise RipstopError("there is no command to run", cure=f"ripstop run {name} --port 9080 -- COMMAND")
    values = {
        "name": name,
        "namespace": namespace,
        "instance": instance,
        "app_port": port,
        "protocol": protocol,
        "version": version,
        "labels": _labels(label or []),
        "address": address,
        "inbound_port": inbound_port,
        "outbound_port": outbound_port,
        "upstreams": [_upstream(text, namespace) for text in upstream or []],
        "zone": zone,
        "weight": weight,
        "lease_s": lease,
        "data_plane": data_plane,
    }
    settings = sidecar_settings(values, state, server, access_log, metrics_port)
    become_agent(Told(settings=settings, command=Command(tuple(command), grace), says_ready=not quiet))


def sidecar_settings(
    values: dict[str, Any], state: Path | None, server: str, access_log: Path | None, metrics_port: int
) -> SidecarSettings:
    """Settings of a sidecar or gateway; everything that is wrong is told at once."""
    import os

    from ripstop.errors import RipstopError
    from ripstop.ids import NodeId, is_label
    from ripstop.model.workload import Locality, NodeKind, Protocol, Registration
    from ripstop.proxy.memory import AgentMemory
    from ripstop.proxy.sidecar import SidecarSettings, free_port, new_instance_name
    from ripstop.settings import State

    env = dict(os.environ) | ({"RIPSTOP_SERVER": server} if server else {})
    instance = values.get("instance") or new_instance_name()
    names = (values["namespace"], values["name"], instance)
    bad = [n for n in names if not is_label(n)]
    if bad:
        raise RipstopError(f"{bad[0]!r} is not a name", cure="use a-z, 0-9 and '-', at most 63 characters")
    speaks = values.get("protocol", "http")
    if speaks not in ("http", "http2", "grpc", "tcp"):
        raise RipstopError(f"{speaks!r} is not a protocol", cure="use http, http2, grpc or tcp")
    memory = AgentMemory.of(State.of(state), NodeId(*names)) if values.get("instance") else None
    kept = memory.read() if memory else None
    before = kept.registration if kept else Registration(node=NodeId(*names))
    place, token = _place_of(State.of(state), env, kept)
    kind = values.get("kind", NodeKind.SIDECAR)
    address = values.get("address", "127.0.0.1")
    needs_inbound = bool(values.get("app_port")) or kind is NodeKind.GATEWAY
    parts = (*values.get("zone", "").split("/"), "", "")[:3]
    registration = Registration(
        node=NodeId(*names),
        kind=kind,
        address=address,
        app_port=values.get("app_port", 0),
        inbound_port=values.get("inbound_port")
        or (free_port(address, before.inbound_port) if needs_inbound else 0),
        outbound_port=values.get("outbound_port")
        or (free_port(preferred=before.outbound_port) if kind is NodeKind.SIDECAR else 0),
        protocol=Protocol(speaks),
        version=values.get("version", ""),
        labels=values.get("labels", {}),
        locality=Locality(*parts),
        weight=values.get("weight", 1),
        upstreams=tuple(values.get("upstreams", ())),
        lease_s=values.get("lease_s", 15.0),
        data_plane=data_plane_of(values.get("data_plane", "")),
    )
    return SidecarSettings(
        registration=registration,
        place=place,
        token=token,
        access_log=access_log,
        metrics_port=metrics_port,
        memory=memory,
    )


def _place_of(state: State, env: dict[str, str], kept: Kept | None) -> tuple[Place, str]:
    """Where the control plane is; a token names one that has to answer, unless it was found there before."""
    from ripstop.errors import Unavailable
    from ripstop.identity import read_join_token
    from ripstop.proxy.control_client import find_place

    try:
        return find_place(state, env)
    except Unavailable:
        if kept is None:
            raise
        return kept.place, read_join_token(env["RIPSTOP_TOKEN"]).secret


def _labels(texts: list[str]) -> dict[str, str]:
    from ripstop.errors import RipstopError

    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key or key in ("app", "version"):
            raise RipstopError(
                f"{text!r} is not a label", cure="write KEY=VALUE; `app` and `version` are given already"
            )
        found[key] = value
    return found


def _upstream(text: str, namespace: str) -> Any:
    from ripstop.errors import RipstopError
    from ripstop.ids import ServiceId
    from ripstop.model.workload import Upstream

    match = re.fullmatch(r"([a-z0-9/-]+):([0-9]{1,5})=([0-9]{1,5})", text)
    if not match:
        raise RipstopError(
            f"{text!r} is not an upstream", cure="write SERVICE:PORT=LOCALPORT, like postgres:5432=15432"
        )
    service = ServiceId.parse(match[1], namespace)
    return Upstream(service=service, port=int(match[2]), local_port=int(match[3]))
