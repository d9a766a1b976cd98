from __future__ import annotations

import io
from dataclasses import asdict

from rich.console import Console

from ripstop.demo.table import COLUMNS, Screen, edges_of, lines_of, table_of
from ripstop.observe.golden import EdgeRow

ROWS = [
    asdict(
        EdgeRow("default/web", "default/reviews", "outbound", rate=99.5, p50_ms=2.25, p99_ms=9.0, mtls=True)
    ),
    asdict(EdgeRow("default/web", "default/reviews", "inbound", rate=99.5)),
    asdict(
        EdgeRow(
            "default/reviews", "default/ratings", "outbound", success_percent=80.0, ejected=3, breaker="open"
        )
    ),
]


def test_each_edge_is_shown_once_as_its_caller_saw_it() -> None:
    web, reviews = edges_of(ROWS)
    assert web.cells == ("web", "reviews", "99.5", "100.0%", "2.2", "9.0", "0", "0", "closed", "yes")
    assert reviews.cells == ("reviews", "ratings", "0.0", "80.0%", "–", "–", "0", "3", "open", "no")
    assert (web.style, reviews.style) == ("", "red")


def test_a_terminal_gets_every_column() -> None:
    out = Console(file=io.StringIO(), width=140, force_terminal=True)
    out.print(table_of(edges_of(ROWS)))
    shown = out.file.getvalue()  # type: ignore[attr-defined]
    assert all(column in shown for column in COLUMNS)


def test_no_terminal_gets_lines_without_control_characters() -> None:
    out = io.StringIO()
    with Screen(Console(file=out, force_terminal=False, soft_wrap=True)) as screen:
        screen.say("1 canary: [brackets] stay", "bold")
        screen.show(edges_of(ROWS))
        screen.show(edges_of(ROWS))
    lines = out.getvalue().splitlines()
    assert "\x1b" not in out.getvalue()
    assert lines[0] == "1 canary: [brackets] stay"
    assert lines[1:] == lines_of(edges_of(ROWS))
