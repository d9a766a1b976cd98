"""What `ripstop proxy` takes, and what it says of a file that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from ripstop.errors import Fault, InvalidDocuments, NotFound
from ripstop.proxy.bootstrap_file import read_bootstrap
from ripstop.xds import pb

LISTENER = """
static_resources:
  listeners:
  - name: front
    address: {socket_address: {address: 127.0.0.1, port_value: 8080}}
"""


def fault_of(path: Path, text: str) -> Fault:
    path.write_text(text)
    with pytest.raises(InvalidDocuments) as raised:
        read_bootstrap(path)
    return raised.value.faults[0]


def test_yaml_and_json_of_the_same_content_give_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(LISTENER)
    read = read_bootstrap(tmp_path / "a.yaml")
    (tmp_path / "a.json").write_text(
        '{"static_resources": {"listeners": [\n\t{"name": "front", "address":'
        ' {"socketAddress": {"address": "127.0.0.1", "portValue": 8080}}}]}}'
    )
    assert read_bootstrap(tmp_path / "a.json") == read
    assert pb.from_bytes(pb.Bootstrap, read).static_resources.listeners[0].name == "front"


def test_bytes_are_taken_as_they_are(tmp_path: Path) -> None:
    content = pb.to_bytes(pb.Bootstrap(flags_path="x"))
    (tmp_path / "a.pb").write_bytes(content)
    assert read_bootstrap(tmp_path / "a.pb") == content


def test_an_unknown_field_is_told_with_its_line_and_path(tmp_path: Path) -> None:
    fault = fault_of(tmp_path / "a.yaml", LISTENER + "    prot: 1\n")
    assert (fault.line, fault.path) == (4, "static_resources.listeners[0]")
    assert 'no field named "prot"' in fault.message
    assert "Available" not in fault.message


def test_a_value_of_another_kind_is_told_with_its_path(tmp_path: Path) -> None:
    text = "static_resources:\n  clusters:\n  - name: a\n    connect_timeout: soon\n"
    fault = fault_of(tmp_path / "a.yaml", text)
    assert (fault.line, fault.path) == (4, "static_resources.clusters[0].connect_timeout")


@pytest.mark.parametrize(
    "text",
    ["a: [", "- 1", "--- \na: 1\n---\nb: 2\n", "static_resources: {listeners: 3}"],
    ids=["not YAML", "a list", "two documents", "a number for a list"],
)
def test_what_is_no_bootstrap_is_refused_with_a_cure(tmp_path: Path, text: str) -> None:
    assert fault_of(tmp_path / "a.yaml", text).cure


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"a\.yaml is no file"):
        read_bootstrap(tmp_path / "a.yaml")
