"""Certificates are renewed at half-life, with new keys, and no call notices."""

from __future__ import annotations

import time

import pytest

from ripstop.testing import LocalMesh

pytestmark = pytest.mark.e2e


def test_calls_go_on_past_the_life_of_their_certificates(mesh: LocalMesh) -> None:
    mesh.apply(
        "apiVersion: ripstop.dev/v1\nkind: Mesh\nmetadata: {name: mesh}\nspec: {identity: {svidTtl: 6s}}\n"
    )
    web, _ = mesh.run("web"), mesh.run("backend")
    until = time.monotonic() + 14
    statuses = set()
    while time.monotonic() < until:
        statuses.add(web.client.get("http://backend/").status_code)
        time.sleep(0.05)
    assert statuses == {200}
    assert all(n["is_current"] for n in mesh.get("/v1/nodes")["nodes"])
