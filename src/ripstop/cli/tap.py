"""`ripstop tap`: requests as they happen, a tree for each across its hops."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ripstop.cli.connect import JsonOption, ServerOption, StateOption, connect

if TYPE_CHECKING:
    from ripstop.proxy.control_client import ControlClient

LOOK_EVERY_S = 0.5
SETTLE_S = 2.5
"""Agents ask and tell once a second: until all keep every request, and until all have told of one."""
WATCH_S = 10.0


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("tap")(tap)


def tap(
    service: Annotated[str, typer.Option(help="Only requests to or from it, as namespace/name.")] = "",
    status: Annotated[str, typer.Option(help="Only answers with this status: 503, or 5xx.")] = "",
    method: Annotated[str, typer.Option(help="Only this method.")] = "",
    path: Annotated[str, typer.Option(help="Only paths that begin so.")] = "",
    flags: Annotated[bool, typer.Option("--flags", help="Only those with a response flag.")] = False,
    requests: Annotated[
        int, typer.Option("--requests", "-n", min=0, help="End after so many; 0: never.")
    ] = 0,
    seconds: Annotated[float, typer.Option(min=0, help="End after so long; 0: never.")] = 0.0,
    state: StateOption = None,
    server: ServerOption = "",
    json: JsonOption = False,
) -> None:
    """Watch requests live, each with its hops: who called whom, the rule that matched, the endpoint, tries, the answer.

    While somebody watches, data planes keep at most 200 requests a second each; what is beyond is counted and told.
    Ctrl-C ends it.

    \b
    Examples:
      ripstop tap
      ripstop tap --service default/reviews --status 5xx
      ripstop tap -n 10 --json
    """
    query = {"service": service, "status": status, "method": method, "path": path, "flags": flags}
    with connect(state, server) as client:
        try:
            _watch(client, query, requests, seconds, as_json=json)
        except KeyboardInterrupt:
            return


def _watch(client: ControlClient, query: dict[str, Any], most: int, seconds: float, *, as_json: bool) -> None:
    from ripstop.cli.decisions import json_line, tree

    client.post("/v1/watch", {"for_s": WATCH_S})
    if sys.stderr.isatty():
        print("asking data planes to keep every request; Ctrl-C ends it", file=sys.stderr)
    time.sleep(SETTLE_S)
    cursor = int(client.get("/v1/decisions", limit=1)["cursor"])
    renew_at, end_at = time.monotonic() + WATCH_S / 2, time.monotonic() + seconds
    waiting: dict[str, float] = {}
    shown = dropped = 0
    while True:
        now = time.monotonic()
        if now > renew_at:
            client.post("/v1/watch", {"for_s": WATCH_S})
            renew_at = now + WATCH_S / 2
        found = client.get("/v1/decisions", after=cursor, limit=2000, **query)
        cursor = int(found["cursor"])
        for decision in found["decisions"]:
            waiting.setdefault(str(decision.get("id", "")), now)
        dropped = _tell_dropped(dropped, int(found["dropped"]))
        is_over = bool(seconds) and now > end_at
        for request_id in [i for i, since in waiting.items() if is_over or now - since > SETTLE_S]:
            del waiting[request_id]
            hops = client.get(f"/v1/decisions/{request_id}")["hops"] if request_id else []
            if hops:
                print(json_line(hops) if as_json else tree(hops), flush=True)
                shown += 1
            if most and shown >= most:
                return
        if is_over:
            return
        time.sleep(LOOK_EVERY_S)


def _tell_dropped(before: int, now: int) -> int:
    if before and now > before:
        print(f"{now - before} more requests than are kept", file=sys.stderr)
    return now
