from __future__ import annotations

import json
from pathlib import Path

from ripstop.demo.report import Check, SceneResult, all_held, report, write

HELD = Check("v2 by weight", "30 to 70 of 500", 52, True)
BROKEN = Check("pages that failed", "0", "3 of 500 (3× reviews 503)", False)


def result(*checks: Check, failure: str = "") -> SceneResult:
    return SceneResult("canary", "a tenth to v2", checks, 8.04, failure)


def test_a_scene_holds_only_when_every_check_does() -> None:
    assert result(HELD).held
    assert not result(HELD, BROKEN).held


def test_a_scene_that_checked_nothing_or_was_not_played_to_the_end_does_not_hold() -> None:
    assert not result().held
    assert not result(HELD, failure="it was not over after 180 s").held


def test_the_demo_holds_only_when_all_scenes_were_played() -> None:
    assert all_held([result(HELD), result(HELD)], wanted=2)
    assert not all_held([result(HELD)], wanted=2)
    assert not all_held([result(HELD), result(BROKEN)], wanted=2)


def test_the_report_has_expected_and_measured_of_each_check(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "report.json"
    write(file, report([result(HELD, BROKEN)], 1, {"pages": 500}, 61.26))
    told = json.loads(file.read_text())
    assert told["held"] is False
    assert told["load"] == {"pages": 500}
    (scene,) = told["scenes"]
    assert scene["name"] == "canary"
    assert scene["expected"] == {"v2 by weight": "30 to 70 of 500", "pages that failed": "0"}
    assert scene["measured"]["v2 by weight"] == 52
    assert scene["failed_checks"] == ["pages that failed"]
