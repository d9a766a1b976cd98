"""`ripstop status`: who is connected, what each runs, what is wrong."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ripstop.cli.connect import JsonOption, ServerOption, StateOption, connect
from ripstop.cli.output import ago, show_json, show_table

NOBODY = "no data planes yet: `ripstop run NAME --port PORT -- COMMAND`"

NODE_COLUMNS = ("NODE", "KIND", "DATA PLANE", "CONNECTED", ">RUNS", "STATE", "HEALTH", "ADDRESS")


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(status)


def status(
    state: StateOption = None,
    server: ServerOption = "",
    json: JsonOption = False,
    wide: Annotated[bool, typer.Option("--wide", help="Show addresses too.")] = False,
) -> None:
    """Show the control plane, every data plane and what it runs, faults, refusals, what Envoy cannot do.

    The exit code is 1 when a node refuses something or a document has a fault.

    \b
    Examples:
      ripstop status
      ripstop status --json
    """
    with connect(state, server) as client:
        found = client.get("/v1/status")
    if json:
        show_json(found)
    else:
        _show(found, wide=wide)
    bad = bool(found["faults"]) or any(node["nacks"] for node in found["nodes"])
    raise typer.Exit(1 if bad else 0)


def _show(found: dict[str, Any], *, wide: bool) -> None:
    up = ago(found["now"] - found["started_at"])
    print(f"ripstop {found['version']}, up {up}, trust domain {found['trust_domain']}")
    print(f"{found['services']} services, {found['documents']} documents; {found['rollout']}")
    if found["directory"]:
        print(f"documents follow {found['directory']}")
    print()
    rows = [node_row(node, found["now"]) for node in found["nodes"]]
    cut = len(NODE_COLUMNS) if wide else len(NODE_COLUMNS) - 1
    show_table(
        NODE_COLUMNS[:cut],
        [row[:cut] for row in rows],
        empty=NOBODY,
    )
    _show_troubles(found)


def node_row(node: dict[str, Any], now: float) -> tuple[Any, ...]:
    """One data plane as cells."""
    registration = node["registration"] or {}
    since = f"{ago(now - node['since'])} ago" if node["since"] else "no"
    state = (
        "refuses"
        if node["nacks"]
        else "current"
        if node["is_current"]
        else "waiting"
        if node["connected"]
        else "-"
    )
    health = registration.get("health", "-")
    runs = node["generation"] if node["generation"] is not None and node["generation"] >= 0 else "-"
    address = (
        f"{registration['address']}:{registration['inbound_port']}"
        if registration.get("inbound_port")
        else "-"
    )
    return (node["node"], node["kind"], node["data_plane"], since, runs, state, health, address)


def _show_troubles(found: dict[str, Any]) -> None:
    for node in found["nodes"]:
        for nack in node["nacks"]:
            print(f"\n{node['node']} refuses {', '.join(nack['names']) or nack['type']}: {nack['message']}")
    missing = sorted({text for node in found["nodes"] for text in node["not_on_this_data_plane"]})
    for text in missing:
        print(f"\nnot on this data plane: {text}")
    for condition in found["conditions"]:
        print(
            f"\n{condition['document']} ({condition['parent']}): {condition['type']} is false, {condition['reason']}"
        )
        if condition["message"]:
            print(f"    {condition['message']}")
    if found["faults"]:
        count = len(found["faults"])
        print(f"\n{count} fault{'s' if count != 1 else ''} in the directory; the mesh stays as it was:")
    for fault in found["faults"]:
        given = f" (found {fault['found']})" if fault["found"] else ""
        print(f"  {fault['file']}:{fault['line']} {fault['path']}: {fault['message']}{given}")
        print(f"      cure: {fault['cure']}")
