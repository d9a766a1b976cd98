"""Writes hop.pb from hop.yaml: `python crates/ripstop-proxy/tests/hop.py`, after a change of either."""

from __future__ import annotations

from pathlib import Path

from ruamel.yaml import YAML

from ripstop.xds import pb

HERE = Path(__file__).parent

content = YAML(typ="safe").load((HERE / "hop.yaml").read_text())
(HERE / "hop.pb").write_bytes(pb.to_bytes(pb.from_dict(pb.Bootstrap, content)))
