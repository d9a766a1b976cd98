"""What the pages show is what the program takes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ripstop.model.parse import parse

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs" / "guide").glob("*.md")])


def documents_of(page: Path) -> list[tuple[str, str]]:
    """Each YAML block of a page (also those within shell here-documents)."""
    text = page.read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.S) + re.findall(r"<<'EOF'\n(.*?)\n *EOF", text, re.S)
    return [
        (f"{page.name}#{n}", re.sub(r"(?m)^   ", "", b) if b.startswith("   ") else b)
        for n, b in enumerate(blocks)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_document_on_a_page_is_valid(page: Path) -> None:
    parsed = parse(documents_of(page))
    assert [str(fault) for fault in parsed.faults] == []


def test_the_pages_show_documents_at_all() -> None:
    assert sum(len(documents_of(page)) for page in PAGES) >= 8


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_on_a_page_exists_with_its_options(page: Path) -> None:
    import typer.main

    from ripstop.cli import app

    group = typer.main.get_command(app)
    for line in re.findall(r"(?m)^ *(?:\$ |RIPSTOP_TOKEN=\S+ )?ripstop ([a-z].*)$", page.read_text()):
        words = line.split(" $ ")[0].split(" -- ")[0].split("#")[0].split()
        with group.make_context("ripstop", [], resilient_parsing=True) as context:
            command = group.get_command(context, words[0])
            assert command is not None, f"{page.name}: there is no `ripstop {words[0]}`"
            if hasattr(command, "get_command"):
                command = command.get_command(context, words[1])
        known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
        for word in words:
            if word.startswith("--") and "│" not in line:
                assert word.split("=")[0] in known, f"{page.name}: {line!r} has unknown {word}"


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*PAGES, *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.relative_to(ROOT)} links to {link}"


def test_the_reference_is_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "reference.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_architecture_names_files_that_are_there() -> None:
    named = re.findall(r"`([a-z_]+/[a-z_/]*(?:\{[a-z_,]+\})?\.py)`", (ROOT / "ARCHITECTURE.md").read_text())
    assert len(named) > 20
    for name in named:
        before, _, choices = name.partition("{")
        names = [before + c + ".py" for c in choices.split("}")[0].split(",")] if choices else [name]
        for each in names:
            assert (ROOT / "src" / "ripstop" / each).is_file(), each
