"""`ripstop delete`, `diff`, `check`: documents, short of applying them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ripstop.cli.connect import JsonOption, NamespaceOption, ServerOption, StateOption, connect
from ripstop.cli.output import show_faults, show_json, show_table

FilesArgument = Annotated[
    list[Path], typer.Argument(metavar="FILE…", help="Files, directories, or - for standard input.")
]
DIFFERS = 1


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("delete")(delete)
    app.command("diff")(diff)
    app.command("check")(check)


def read(paths: list[Path]) -> list[tuple[str, str]]:
    """The text of files, directories and ``-``.

    Raises:
        RipstopError: one cannot be read, or there is nothing.
    """
    import sys

    from ripstop.errors import NotFound
    from ripstop.sources.directory import read_files

    found: list[tuple[str, str]] = []
    for path in paths:
        if str(path) == "-":
            found.append(("standard input", sys.stdin.read()))
            continue
        files = read_files([path])
        for file, why in files.unreadable:
            raise NotFound(f"{file} cannot be read: {why}", cure="check the path")
        if not files.texts:
            raise NotFound(f"{path} has no .yaml files", cure="name a directory that has, or a file")
        found += files.texts
    return found


def as_body(files: list[tuple[str, str]], **more: Any) -> dict[str, Any]:
    """What the API takes."""
    return {"files": [{"file": file, "text": text} for file, text in files], **more}


def delete(
    what: Annotated[
        list[str] | None, typer.Argument(metavar="[KIND NAME]", help="A document.", show_default=False)
    ] = None,
    file: Annotated[
        list[Path] | None, typer.Option("--file", "-f", help="All documents of a file.", show_default=False)
    ] = None,
    namespace: NamespaceOption = "default",
    wait: Annotated[bool, typer.Option("--wait", help="Wait until every node runs without it.")] = False,
    state: StateOption = None,
    server: ServerOption = "",
    json: JsonOption = False,
) -> None:
    """Take documents away, all or none.

    \b
    Examples:
      ripstop delete HTTPRoute reviews
      ripstop delete -f routes.yaml
    """
    from ripstop.cli.apply import WAIT_S, finish
    from ripstop.errors import InvalidDocuments, RipstopError
    from ripstop.model.parse import parse

    keys: list[tuple[str, str, str]] = []
    if what:
        if len(what) != 2:
            raise RipstopError("name a kind and a name", cure="ripstop delete HTTPRoute reviews")
        keys.append((what[0], namespace, what[1]))
    if file:
        parsed = parse(read(file))
        if parsed.faults:
            raise InvalidDocuments(parsed.faults)
        keys += [d.key for d in parsed.documents]
    if not keys:
        raise RipstopError("there is nothing to delete", cure="name a kind and a name, or a file with -f")
    wait_s = WAIT_S if wait else 0.0
    with connect(state, server) as client:
        answer = client.delete("/v1/documents", {"documents": keys, "wait_s": wait_s}, wait_s=wait_s)
    finish(answer, wait=wait, json=json)


def diff(
    files: FilesArgument,
    state: StateOption = None,
    server: ServerOption = "",
    json: JsonOption = False,
) -> None:
    """Show what applying would change. The exit code is 1 when there is a difference.

    \b
    Examples:
      ripstop diff mesh/
    """
    with connect(state, server) as client:
        found = client.post("/v1/documents:diff", as_body(read(files)))["documents"]
    if json:
        show_json(found)
    for item in found if not json else ():
        print(f"{item['action']:7} {item['document']}")
        if item["text"]:
            print(item["text"].rstrip())
    raise typer.Exit(DIFFERS if any(item["action"] != "same" for item in found) else 0)


def check(files: FilesArgument, json: JsonOption = False) -> None:
    """Tell every fault of files, without a control plane.

    Sound documents are compiled for a sidecar of each service and for each gateway, and what comes of it is read as the
    native data plane would read it.

    \b
    Examples:
      ripstop check mesh/
      cat route.yaml | ripstop check -
    """
    from dataclasses import asdict

    from ripstop.control.trial import trial
    from ripstop.model.check import check
    from ripstop.model.parse import parse

    parsed = parse(read(files))
    faults = (*parsed.faults, *check(parsed.documents)) or trial(parsed.documents)
    if json:
        show_json({"documents": [d.title for d in parsed.documents], "faults": [asdict(f) for f in faults]})
    else:
        show_faults(faults)
        show_table(("DOCUMENT", "FILE"), [(d.title, f"{d.file}:{d.line}") for d in parsed.documents])
        print(f"{len(parsed.documents)} sound, {len(faults)} fault{'s' if len(faults) != 1 else ''}")
    raise typer.Exit(1 if faults else 0)
