"""Registrations as JSON: agents write them without the library that checks them, and both mean the same."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ripstop.errors import InvalidDocuments
from ripstop.ids import NodeId, ServiceId
from ripstop.model.registration_check import (
    registration_from_bytes,
    registration_from_json,
    registration_to_bytes,
)
from ripstop.model.registration_json import registration_of_ours, registration_to_json
from ripstop.model.workload import (
    DataPlaneKind,
    Health,
    Locality,
    NodeKind,
    Protocol,
    Registration,
    Upstream,
)

NAMES = st.from_regex(r"[a-z0-9]{1,10}", fullmatch=True)
PORTS = st.integers(0, 65535)
REGISTRATIONS = st.builds(
    Registration,
    node=st.builds(NodeId, NAMES, NAMES, NAMES),
    kind=st.sampled_from(NodeKind),
    address=st.sampled_from(["127.0.0.1", "10.0.0.7", "::1"]),
    app_port=PORTS,
    inbound_port=PORTS,
    outbound_port=PORTS,
    admin_port=PORTS,
    protocol=st.sampled_from(Protocol),
    version=st.text(max_size=5),
    labels=st.dictionaries(NAMES.map(lambda name: f"x-{name}"), st.text(max_size=5), max_size=3),
    locality=st.builds(Locality, NAMES, NAMES, NAMES),
    weight=st.integers(0, 1000),
    upstreams=st.lists(
        st.builds(Upstream, service=st.builds(ServiceId, NAMES, NAMES), port=PORTS, local_port=PORTS),
        max_size=2,
    ).map(tuple),
    health=st.sampled_from(Health),
    lease_s=st.floats(1, 3600),
    expires_at=st.floats(0, 4e9),
    data_plane=st.sampled_from(DataPlaneKind),
)


@given(REGISTRATIONS)
def test_what_an_agent_writes_is_read_alike_by_itself_the_api_and_the_store(
    registration: Registration,
) -> None:
    value = json.loads(json.dumps(registration_to_json(registration)))
    assert registration_of_ours(value) == registration
    assert registration_from_json(value) == registration
    assert json.loads(registration_to_bytes(registration)) == value
    assert registration_from_bytes(json.dumps(value).encode()) == registration


@pytest.mark.parametrize("field", ["node", "kind", "locality", "upstreams"])
def test_something_else_is_told_to_the_agent_as_a_fault_of_its_file(field: str) -> None:
    value = registration_to_json(Registration(node=NodeId("a", "b", "c")))
    with pytest.raises((ValueError, TypeError, KeyError)):
        registration_of_ours({key: kept for key, kept in value.items() if key != field})
    with pytest.raises((ValueError, TypeError)):
        registration_of_ours(value | {field: "else"})
    with pytest.raises(InvalidDocuments):
        registration_from_json(value | {field: "else"})
