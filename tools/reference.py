"""Write docs/reference from the code: a page for every kind of document and one for every command.

`python tools/reference.py --check` exits 1 when a page is not what the code says.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent / "docs" / "reference"
HEAD = "<!-- Written by tools/reference.py; do not edit. -->\n\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    pages = {**kind_pages(), **command_pages()}
    pages["README.md"] = index(pages)
    stale = [name for name, text in pages.items() if not _is_current(ROOT / name, text)]
    if check:
        for name in stale:
            print(f"docs/reference/{name} is not what the code says; run `make docs`", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_text(pages[name])
    print(f"{len(pages)} pages, {len(stale)} written")
    return 0


def _is_current(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


def index(pages: dict[str, str]) -> str:
    lines = [f"- [{Path(name).stem}]({name})" for name in sorted(pages)]
    return HEAD + "# Reference\n\n" + "\n".join(lines) + "\n"


# --- kinds: from the JSON Schema that editors get -----------------------------------------------------------------


def kind_pages() -> dict[str, str]:
    from ripstop.model.schema import json_schema

    schema = json_schema()
    return {f"kinds/{kind}.md": kind_page(kind, branch, schema) for kind, branch in branches(schema)}


def branches(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    found = {}
    for branch in schema.get("oneOf", schema.get("anyOf", [])):
        branch = deref(branch, schema)
        kind = branch["properties"]["kind"]
        found[kind.get("const") or kind["enum"][0]] = branch
    return sorted(found.items())


def deref(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        target: Any = schema
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = {**{k: v for k, v in node.items() if k != "$ref"}, **target}
    return node


def kind_page(kind: str, branch: dict[str, Any], schema: dict[str, Any]) -> str:
    version = branch["properties"].get("apiVersion", {})
    versions = version.get("enum") or [version.get("const", "")]
    lines = [HEAD + f"# {kind}", "", branch.get("description", "").strip(), ""]
    lines += [f"`apiVersion`: {', '.join(f'`{v}`' for v in versions)}", ""]
    lines += ["| field | type | default | meaning |", "|---|---|---|---|"]
    for name in sorted(set(branch["properties"]) - {"apiVersion", "kind", "metadata"}):
        lines += rows(name, branch["properties"][name], schema, ())
    return "\n".join(lines) + "\n"


def rows(path: str, node: dict[str, Any], schema: dict[str, Any], seen: tuple[str, ...]) -> list[str]:
    ref = node.get("$ref", "")
    if ref and ref in seen:
        return []
    node = deref(node, schema)
    options = [o for o in node.get("anyOf", []) if o.get("type") != "null"]
    if len(options) == 1:
        return rows(path, {**node, "anyOf": [], **options[0]}, schema, seen)
    text = " ".join(str(node.get("description", "")).split()).replace("|", "\\|")
    default = f"`{node['default']}`" if node.get("default") not in (None, [], {}) else ""
    out = [f"| `{path}` | {type_name(node, schema)} | {default} | {text} |"]
    inner = (*seen, ref) if ref else seen
    for name, child in node.get("properties", {}).items():
        out += rows(f"{path}.{name}", child, schema, inner)
    if isinstance(node.get("items"), dict):
        item = node["items"]
        inside = deref(item, schema)
        if "properties" in inside and item.get("$ref", "") not in inner:
            for name, child in inside["properties"].items():
                out += rows(f"{path}[].{name}", child, schema, (*inner, item.get("$ref", "")))
    return out


def type_name(node: dict[str, Any], schema: dict[str, Any]) -> str:
    if "enum" in node:
        return " \\| ".join(f"`{v}`" for v in node["enum"])
    if "const" in node:
        return f"`{node['const']}`"
    if node.get("anyOf"):
        names = [type_name(deref(o, schema), schema) for o in node["anyOf"] if o.get("type") != "null"]
        return " or ".join(dict.fromkeys(names))
    if node.get("type") == "array":
        return f"list of {type_name(deref(node.get('items', {}), schema), schema)}"
    return str(node.get("format") or node.get("type") or "any")


# --- commands: their own --help -----------------------------------------------------------------------------------


def command_pages() -> dict[str, str]:
    import typer.main

    from ripstop.cli import app

    group: Any = typer.main.get_command(app)
    pages = {}
    with group.make_context("ripstop", [], resilient_parsing=True) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if command is not None and not command.hidden:
                pages |= command_page(name, command, context)
    return pages


def command_page(name: str, command: Any, parent: Any) -> dict[str, str]:
    with command.make_context(name, [], parent=parent, resilient_parsing=True) as context:
        if hasattr(command, "list_commands"):
            pages = {}
            for sub in command.list_commands(context):
                pages |= command_page(f"{name} {sub}", command.get_command(context, sub), context)
            return pages
        usage = " ".join(command.collect_usage_pieces(context))
        lines = [HEAD + f"# ripstop {name}", "", clean(command.help), "", f"    ripstop {name} {usage}", ""]
        lines += ["| option | meaning |", "|---|---|"]
        for parameter in command.params:
            lines.append(parameter_row(parameter))
    return {f"commands/{name.replace(' ', '-')}.md": "\n".join(lines) + "\n"}


def parameter_row(parameter: Any) -> str:
    names = ", ".join(f"`{n}`" for n in (*parameter.opts, *parameter.secondary_opts))
    if parameter.param_type_name == "argument":
        names = f"`{parameter.make_metavar_name() if hasattr(parameter, 'make_metavar_name') else parameter.name.upper()}`"
    text = " ".join((getattr(parameter, "help", None) or "").split()).replace("|", "\\|")
    return f"| {names} | {text} |"


def clean(text: str | None) -> str:
    return "\n".join(line.rstrip() for line in (text or "").replace("\b", "").strip().splitlines())


if __name__ == "__main__":
    sys.exit(main())
