"""`ripstop token`: join tokens."""

from __future__ import annotations

import re
import time
from typing import Annotated

import typer

from ripstop.cli.connect import JsonOption, ServerOption, StateOption, connect
from ripstop.cli.output import ago, show_json

tokens = typer.Typer(
    help="Make join tokens: they let a service on another host into the mesh.", no_args_is_help=True
)


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(tokens, name="token")


@tokens.callback()
def _group() -> None:
    """Make join tokens: they let a service on another host into the mesh."""


@tokens.command("create")
def create(
    service: Annotated[str, typer.Option(help="The service that it lets in: NAME or NAMESPACE/NAME.")],
    ttl: Annotated[str, typer.Option(help="How long it can be used, like 10m, 1h or 7d.")] = "1h",
    reusable: Annotated[bool, typer.Option("--reusable", help="It can be used more than once.")] = False,
    state: StateOption = None,
    server: ServerOption = "",
    json: JsonOption = False,
) -> None:
    """Make a token for one service; use it as RIPSTOP_TOKEN of `ripstop run` there.

    \b
    Examples:
      ripstop token create --service reviews
      ripstop token create --service shop/reviews --ttl 7d --reusable
    """
    from ripstop.errors import RipstopError

    match = re.fullmatch(r"([0-9]+)([smhd])", ttl)
    if not match:
        raise RipstopError(f"{ttl!r} is not a time", cure="write it like 10m, 1h or 7d")
    seconds = int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[match[2]]
    with connect(state, server) as client:
        made = client.post("/v1/tokens", {"service": service, "ttl_s": seconds, "reusable": reusable})
    if json:
        show_json(made)
        return
    print(made["token"])
    uses = "any number of times" if made["reusable"] else "once"
    typer.echo(f"for {made['service']}, {uses}, for {ago(made['expires_at'] - time.time())}", err=True)
