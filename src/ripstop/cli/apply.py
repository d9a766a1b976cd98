"""`ripstop apply`: make documents current."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from ripstop.cli.connect import JsonOption, ServerOption, StateOption, connect
from ripstop.cli.documents import FilesArgument, as_body, read
from ripstop.cli.output import show_json

WAIT_S = 30.0


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("apply")(apply)


def apply(
    files: FilesArgument,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until every node runs them.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most.")] = WAIT_S,
    state: StateOption = None,
    server: ServerOption = "",
    json: JsonOption = False,
) -> None:
    """Make the documents of files current: all of them, or none when there is a fault.

    With --wait the exit code is 0 once every node runs them, else 1, and it is told which does not and why.

    \b
    Examples:
      ripstop apply routes.yaml
      ripstop apply --wait mesh/
      cat route.yaml | ripstop apply -
    """
    wait_s = timeout if wait else 0.0
    with connect(state, server) as client:
        answer = client.post("/v1/documents", as_body(read(files), wait_s=wait_s), wait_s=wait_s)
    finish(answer, wait=wait, json=json)


def finish(answer: dict[str, Any], *, wait: bool, json: bool) -> None:
    """Tell what came of a change."""
    rollout = answer["rollout"]
    if json:
        show_json(answer)
    else:
        for word in ("applied", "deleted", "unchanged"):
            for title in answer[word]:
                print(f"{word:9} {title}")
        print(rollout["summary"] if wait else f"generation {answer['generation']}")
    failed = wait and (not rollout["done"] or bool(rollout["refused"]))
    for refusal in rollout["refused"] if wait else ():
        print(
            f"ripstop: {refusal['node']} refuses {', '.join(refusal['names'])}: {refusal['message']}",
            file=sys.stderr,
        )
    raise typer.Exit(1 if failed else 0)
