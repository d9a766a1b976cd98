"""`ripstop explain` asks the control plane: of the current documents, or of proposed ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ripstop.testing import LocalMesh

pytestmark = pytest.mark.e2e

SERVICES = """
apiVersion: v1
kind: Service
metadata: {name: books}
spec: {selector: {app: books}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: books-next}
spec: {selector: {app: books-next}, ports: [{port: 80}]}
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: books}
spec:
  parentRefs: [{kind: Service, group: "", name: books}]
  rules:
  - matches: [{headers: [{name: x-user, value: "7"}]}]
    backendRefs: [{name: books-next, port: 80}]
"""


@pytest.fixture(scope="module")
def books(mesh: LocalMesh) -> LocalMesh:
    mesh.apply(SERVICES)
    return mesh


def explained(mesh: LocalMesh, *words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "ripstop", "explain", "--from", "web", *words]
    done = subprocess.run(command, env=mesh.env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_current_documents_are_asked(books: LocalMesh) -> None:
    code, text = explained(books, "GET http://books/x")
    assert "books is default/books" in text and "out/default/books/80" in text, text
    assert (code, "no endpoint, 503" in text) == (1, True), text


def test_proposed_documents_are_asked_and_nothing_is_changed(books: LocalMesh, tmp_path: Path) -> None:
    file = tmp_path / "route.yaml"
    file.write_text(ROUTE)
    before = books.get("/v1/status")["generation"]
    _, text = explained(books, "http://books/x", "-H", "x-user: 7", "--with", str(file))
    assert "out/default/books-next/80" in text and "route.yaml:8 spec.rules[0].matches[0]" in text, text
    _, text = explained(books, "http://books/x", "-H", "x-user: 8", "--with", str(file))
    assert 'header x-user is "8", wanted "7"' in text and "404" in text, text
    assert books.get("/v1/status")["generation"] == before


def test_programs_get_every_step_as_data(books: LocalMesh) -> None:
    _, text = explained(books, "POST http://books/x?q=1", "--json")
    found: dict[str, Any] = json.loads(text)
    (hop,) = found["hops"]
    assert hop["match"]["forward"]["method"] == "POST"
    assert hop["match"]["forward"]["path"] == "/x?q=1"
    assert {step["kind"] for step in hop["steps"]} >= {"host", "route", "cluster"}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["ftp://books/"], "is no request"),
        (["https://books/"], "do not call https"),
        (["http://books/", "-H", "x-user"], "is no header"),
        (["http://books/", "-H", "x user: 7"], "is no request"),
    ],
)
def test_what_is_no_question_is_refused_with_a_cure(books: LocalMesh, words: list[str], why: str) -> None:
    code, text = explained(books, *words)
    assert (code, why in text, "cure:" in text) == (1, True, True), text
