"""`ripstop explain`: where a request went and why; or where one would go, without making it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from ripstop.cli.connect import JsonOption, ServerOption, StateOption, connect
from ripstop.cli.output import show_json
from ripstop.errors import RipstopError

MARKS = {"passed_over": "-", "route": "+", "answer": "="}
"""What stands before a step; others have a dot."""
FORWARDED = ("forwarded", "tunnelled")


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain")(explain)


def explain(
    request: Annotated[
        str,
        typer.Argument(
            metavar="REQUEST",
            help="The id of a request that was made (x-request-id); or METHOD URL, GET when only a URL is given.",
        ),
    ],
    caller: Annotated[
        str,
        typer.Option(
            "--from", metavar="SERVICE", help="Who would call; a Gateway: somebody outside. For a METHOD URL."
        ),
    ] = "",
    header: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", metavar="NAME: VALUE", help="A header of the request."),
    ] = None,
    proposed: Annotated[
        list[Path] | None,
        typer.Option(
            "--with", metavar="FILE", help="As if these files had been applied.", show_default=False
        ),
    ] = None,
    random: Annotated[
        int,
        typer.Option(
            min=0, max=2**64 - 1, help="Decides shares; another number, another of the weighted backends."
        ),
    ] = 0,
    state: StateOption = None,
    server: ServerOption = "",
    json: JsonOption = False,
) -> None:
    """Tell where a call went, or would go, and why: routes, rules, policies, endpoints, each with its document line.

    Of a request that was made, data planes remember every failure and one success in a hundred (`ripstop tap` has them
    remember all). For one that was not, nothing is sent: the caller's sidecar (or the gateway) is asked for its decision,
    then the callee's; the exit code is 1 when the call would not reach an application.

    \b
    Examples:
      ripstop explain 1f0c1f0e-2f5b-4c56-9d2c-5b0a3a0f8f11
      ripstop explain --from web 'GET http://reviews/x' -H 'x-user: 7'
      ripstop explain --from web http://reviews/ --with routes.yaml
      ripstop explain --from edge https://shop.example.com/
    """
    if is_id(request):
        with connect(state, server) as client:
            _show_request(client.get(f"/v1/decisions/{request}")["hops"], as_json=json)
        return
    from ripstop.cli.documents import as_body, read

    if not caller:
        raise RipstopError("nobody is said to call", cure="add --from SERVICE; or give the id of a request")
    question: dict[str, Any] = {"caller": caller, "random": random, **read_request(request)}
    question["headers"] = [read_header(text) for text in header or ()]
    question["files"] = as_body(read(proposed))["files"] if proposed else []
    with connect(state, server) as client:
        found = client.post("/v1/explain", question)
    if json:
        show_json(found)
    else:
        _show(found)
    raise typer.Exit(0 if found["outcome"] in FORWARDED else 1)


def is_id(text: str) -> bool:
    """Whether this is the id of a request and no URL: ids hold no dot, colon, slash or space, and are long."""
    return re.fullmatch(r"[0-9A-Za-z_-]{16,}", text) is not None


def _show_request(hops: list[dict[str, Any]], *, as_json: bool) -> None:
    from ripstop.cli.decisions import story, url_of

    if as_json:
        show_json(hops)
        return
    print(f"{hops[0].get('request', {}).get('method', '')} {url_of(hops[0])}")
    for hop in hops:
        print(story(hop))


def read_request(text: str) -> dict[str, str]:
    """Method, scheme, authority and path of ``METHOD URL``.

    Raises:
        RipstopError: it is none.
    """
    method, _, url = text.strip().rpartition(" ")
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.netloc or " " in method.strip():
        raise RipstopError(f"{text!r} is no request", cure="write 'GET http://reviews/path'")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return {
        "method": method.strip() or "GET",
        "scheme": parts.scheme,
        "authority": parts.netloc,
        "path": path,
    }


def read_header(text: str) -> tuple[str, str]:
    """Name and value of ``name: value``.

    Raises:
        RipstopError: there is no colon.
    """
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise RipstopError(f"{text!r} is no header", cure="write 'name: value'")
    return name.strip(), value.strip()


def _show(found: dict[str, Any]) -> None:
    for hop in found["hops"]:
        assumed = ", taken to be there" if hop["is_assumed"] else ""
        print(f"{hop['side']} {hop['node']}{assumed}")
        width = max((len(step["text"]) for step in hop["steps"] if len(step["text"]) <= 100), default=0)
        for step in hop["steps"]:
            source = f"  [{step['source']}]" if step["source"] else ""
            print(
                f"  {MARKS.get(step['kind'], '·')} {step['text'].ljust(width) if source else step['text']}{source}"
            )
    told = "reaches the application" if found["outcome"] in FORWARDED else found["outcome"].replace("_", " ")
    print(
        f"{told}{', ' + str(found['status']) if found['status'] else ''} (generation {found['generation']})"
    )
