"""Bad input: every fault at once, each with its place and a cure, and never a crash."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from ripstop.model.check import check
from ripstop.model.document import KINDS
from ripstop.model.parse import parse
from ripstop.model.schema import json_schema

ROUTE = """\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: Foo}
spec:
  parentRef: []
  rules:
    - matches: [{path: {type: PathPrefx, value: /a}}, {path: {value: foo}}]
      backendRefs: [{name: a, port: "80"}]
      timeouts: {request: 5}
"""


def test_all_faults_of_all_files_come_in_one_answer() -> None:
    parsed = parse([("a.yaml", ROUTE), ("b.yaml", "kind: Foo\nmetadata: {name: a}\n"), ("c.yaml", "a: [\n")])
    places = [(f.file, f.line, f.path) for f in parsed.faults]
    assert places == [
        ("a.yaml", 3, "metadata.name"),
        ("a.yaml", 5, "spec.parentRef"),
        ("a.yaml", 7, "spec.rules[0].matches[0].path.type"),
        ("a.yaml", 7, "spec.rules[0].matches[1].path.value"),
        ("a.yaml", 8, "spec.rules[0].backendRefs[0].port"),
        ("a.yaml", 9, "spec.rules[0].timeouts.request"),
        ("b.yaml", 1, "apiVersion"),
        ("b.yaml", 1, "kind"),
        ("c.yaml", 2, "document"),
    ]
    assert all(fault.cure for fault in parsed.faults)
    assert "did you mean parentRefs?" in parsed.faults[1].cure


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &a [x]\nb: *nobody\n", "no anchor"),
        ("a: 1\na: 2\n", "given twice"),
        ("!!python/object/apply:os.system ['true']\n", "tag"),
        ("{" * 200, ""),
        ("- just\n- a list\n", "mapping"),
        ("x: \x00\n", ""),
        ("&a [" + "*a," * 10 + "]", ""),
    ],
)
def test_hostile_yaml_is_told(text: str, words: str) -> None:
    parsed = parse([("f.yaml", text)])
    assert parsed.faults and not parsed.documents
    assert words in " ".join(str(f) for f in parsed.faults)


def test_a_billion_laughs_are_refused_quickly() -> None:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert parse([("f.yaml", "\n".join(lines))]).faults


@given(st.text(max_size=300))
def test_no_text_crashes_the_parser(text: str) -> None:
    parse([("f.yaml", text)])


ANY_KIND = st.sampled_from(sorted(KINDS))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(ANY_KIND, VALUES)
def test_no_spec_crashes_the_parser(kind: str, spec: object) -> None:
    version = KINDS[kind].api_versions[0]
    text = json.dumps({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, "spec": spec})
    parsed = parse([("f.yaml", text)])
    assert all(fault.line and fault.cure for fault in parsed.faults)


def test_faults_between_documents() -> None:
    policy = "apiVersion: ripstop.dev/v1\nkind: TrafficPolicy\nmetadata: {{name: {0}}}\nspec:\n"
    policy += "  targetRefs: [{{kind: Service, name: {1}}}]\n  {2}\n"
    texts = [
        policy.format("a", "x", "fallback: [{service: y}]"),
        policy.format("b", "y", "fallback: [{service: x}]"),
        policy.format("c", "z", "timeouts: {request: 1s}"),
        policy.format("d", "z", "timeouts: {request: 2s}"),
        policy.format("d", "w", "timeouts: {request: 2s}"),
    ]
    parsed = parse([(f"{n}.yaml", text) for n, text in enumerate(texts)])
    assert parsed.faults == ()
    found = {(f.file, f.path) for f in check(parsed.documents)}
    assert found == {
        ("0.yaml", "spec.fallback[0].service"),
        ("1.yaml", "spec.fallback[0].service"),
        ("3.yaml", "spec.timeouts.request"),
        ("4.yaml", "metadata.name"),
    }


def test_secrets_are_not_repeated_in_faults() -> None:
    text = "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\ndata: {tls.key: {a: c2VjcmV0}}\n"
    assert "c2VjcmV0" not in " ".join(str(f) for f in parse([("f.yaml", text)]).faults)


def test_the_json_schema_takes_what_the_parser_takes() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    root = Path(__file__).resolve().parents[2]
    text = (root / "docs" / "guide" / "routing.md").read_text()
    for block in text.split("```yaml\n")[1:]:
        for document in YAML(typ="safe").load_all(block.split("```")[0]):
            validator.validate(document)
    assert not validator.is_valid(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"prots": []}}
    )
