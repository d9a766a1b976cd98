"""`ripstop get`: documents, services, history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ripstop.cli.connect import JsonOption, ServerOption, StateOption, connect
from ripstop.cli.output import ago, show_json, show_table

if TYPE_CHECKING:
    from ripstop.proxy.control_client import ControlClient


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("get")(get)


def get(
    kind: Annotated[
        str, typer.Argument(help="A kind of document, `service`, `node` or `history`; all when left out.")
    ] = "",
    name: Annotated[str, typer.Argument(help="One of them.", show_default=False)] = "",
    effective: Annotated[
        bool,
        typer.Option("--effective", help="Of a service: what holds for calls to it, and which line says so."),
    ] = False,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="The namespace.", show_default=False)
    ] = "",
    state: StateOption = None,
    server: ServerOption = "",
    json: JsonOption = False,
) -> None:
    """Show documents, services, or the history of changes.

    \b
    Examples:
      ripstop get                              all documents
      ripstop get HTTPRoute reviews            one, as it was written
      ripstop get services
      ripstop get service reviews --effective
      ripstop get history
    """
    wanted = kind.lower().removesuffix("s") if kind.lower() != "ripstops" else kind
    with connect(state, server) as client:
        if wanted == "history":
            _history(client, json=json)
        elif wanted == "service":
            _services(client, namespace or "default", name, effective=effective, json=json)
        elif wanted == "node":
            _nodes(client, json=json)
        else:
            _documents(client, kind, namespace, name, json=json)


def _nodes(client: ControlClient, *, json: bool) -> None:
    import time

    from ripstop.cli.status import NOBODY, NODE_COLUMNS, node_row

    found = client.get("/v1/nodes")["nodes"]
    if json:
        show_json(found)
    else:
        show_table(NODE_COLUMNS, [node_row(node, time.time()) for node in found], empty=NOBODY)


def _documents(client: ControlClient, kind: str, namespace: str, name: str, *, json: bool) -> None:
    from ripstop.errors import NotFound

    query: dict[str, Any] = {"kind": _kind(kind), "namespace": namespace, "name": name}
    found = client.get("/v1/documents", **query)["documents"]
    if name and not found:
        raise NotFound(f"there is no {kind} {name}", cure="see `ripstop get`")
    if json:
        show_json(found)
    elif name:
        print("\n".join(f"# {d['file']}:{d['line']}\n{d['text'].strip()}" for d in found))
    else:
        rows = [(d["kind"], d["namespace"], d["name"], f"{d['file']}:{d['line']}") for d in found]
        show_table(("KIND", "NAMESPACE", "NAME", "FILE"), rows, empty="no documents")


def _kind(text: str) -> str:
    """``httproutes`` is ``HTTPRoute``."""
    from ripstop.model.document import KINDS

    for kind in KINDS:
        plural = kind.lower()[:-1] + "ies" if kind.endswith("y") else kind.lower() + "s"
        if text.lower() in (kind.lower(), plural):
            return kind
    return text


def _history(client: ControlClient, *, json: bool) -> None:
    import time

    changes = client.get("/v1/history")["changes"]
    if json:
        show_json(changes)
        return
    rows = [
        (
            c["generation"],
            ago(time.time() - c["at"]),
            c["actor"],
            c["summary"],
            ", ".join([*c["applied"], *c["deleted"]]),
        )
        for c in changes
    ]
    show_table((">CHANGE", ">AGO", "BY", "WHAT", "DOCUMENTS"), rows, empty="no changes")


def _services(client: ControlClient, namespace: str, name: str, *, effective: bool, json: bool) -> None:
    if not name:
        found = client.get("/v1/services")["services"]
        if json:
            show_json(found)
            return
        rows = [
            (
                s["namespace"],
                s["name"],
                ",".join(f"{p['port']}/{p['protocol']}" for p in s["ports"]),
                s["endpoint_count"],
                s["endpoints_from"] if s["mesh"] else f"{s['endpoints_from']}, outside",
                ", ".join(s["authorizations"]) or "-",
            )
            for s in found
        ]
        show_table(
            ("NAMESPACE", "NAME", "PORTS", ">ENDPOINTS", "FROM", "AUTHORIZATION"), rows, empty="no services"
        )
        return
    service = client.get(f"/v1/services/{namespace}/{name}")
    if json or effective:
        _effective(service, json=json)
        return
    print(f"{service['namespace']}/{service['name']}  ({', '.join(service['hosts'])})")
    places = [
        (e["instance"] or "-", e["address"], e["health"], e["weight"], _labels(e["labels"]))
        for e in service["endpoints"]
    ]
    show_table(("INSTANCE", "ADDRESS", "HEALTH", ">WEIGHT", "LABELS"), places, empty="no endpoints")


def _labels(labels: dict[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _effective(service: dict[str, Any], *, json: bool) -> None:
    if json:
        show_json(service)
        return
    sources = service["effective"]["sources"]
    rows = []
    for part, values in service["effective"]["policy"].items():
        for field, value in values.items() if isinstance(values, dict) else [("", values)]:
            path = f"{part}.{field}" if field else part
            rows.append((path, value, _source(sources, path)))
    rows += [(f"authorization {index}", text, "") for index, text in enumerate(service["authorizations"])]
    show_table(("FIELD", "VALUE", "SET BY"), rows)


def _source(sources: dict[str, str], path: str) -> str:
    """Documents say ``outlierDetection.baseEjection``, the effective policy ``outlier.base_ejection_s``."""
    from ripstop.settings.words import document_path

    wanted = document_path(path)
    return next(
        (where for given, where in sources.items() if given == wanted or given.startswith(wanted + ".")),
        "default",
    )
