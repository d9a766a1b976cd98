"""The snapshot of each scenario, as YAML in golden/. RIPSTOP_WRITE_GOLDENS=1 writes them again."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from compiler_scenarios import SCENARIOS, Scenario
from ruamel.yaml import YAML

from ripstop.compiler import Compiler
from ripstop.xds import pb, type_urls
from ripstop.xds.snapshot import Snapshot

GOLDEN = Path(__file__).parent / "golden"
WRITES = "RIPSTOP_WRITE_GOLDENS"


def as_written(port: int) -> int:
    return port


def shown(snapshot: Snapshot) -> dict[str, Any]:
    """Resources by type and name, as Envoy's JSON."""
    made: dict[str, Any] = {
        type_urls.SHORT_NAMES[url]: {
            name: _ordered(pb.to_dict(pb.from_bytes(pb.resource_class(url), resource.body)))
            for name, resource in sorted(resources.items())
        }
        for url, resources in snapshot.resources.items()
        if resources
    }
    return {**made, "not_on_this_data_plane": list(snapshot.not_on_this_data_plane)}


def _ordered(content: Any) -> Any:
    """Keys in one order whatever that of the maps was: type and name first, the rest by letter."""
    if isinstance(content, dict):
        keys = sorted(content, key=lambda key: (key != "@type", key != "name", key))
        return {key: _ordered(content[key]) for key in keys}
    return [_ordered(item) for item in content] if isinstance(content, list) else content


def to_yaml(content: dict[str, Any]) -> str:
    yaml = YAML()
    yaml.width = 110
    yaml.representer.ignore_aliases = lambda _: True
    text = io.StringIO()
    yaml.dump(content, text)
    return text.getvalue()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_snapshot_is_as_in_its_golden_file(scenario: Scenario) -> None:
    found = to_yaml(shown(Compiler().compile(*scenario.make(as_written))))
    file = GOLDEN / f"{scenario.name}.yaml"
    if os.environ.get(WRITES):
        file.parent.mkdir(exist_ok=True)
        file.write_text(found)
    assert file.exists(), f"there is no golden for {scenario.name}: set {WRITES}=1 to write it"
    assert found == file.read_text(), f"set {WRITES}=1 to write the goldens again, and read what changed"


def test_every_golden_file_has_a_scenario() -> None:
    assert {file.stem for file in GOLDEN.glob("*.yaml")} == {scenario.name for scenario in SCENARIOS}
