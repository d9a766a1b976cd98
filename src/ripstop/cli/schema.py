"""`ripstop schema`: JSON Schema for editors."""

from __future__ import annotations

import typer

from ripstop.cli.output import show_json


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("schema")(schema)


def schema() -> None:
    """Print the JSON Schema of documents, for editors.

    \b
    Examples:
      ripstop schema > ripstop.schema.json
      (and in a YAML file: # yaml-language-server: $schema=ripstop.schema.json)
    """
    from ripstop.model.schema import json_schema

    show_json(json_schema())
