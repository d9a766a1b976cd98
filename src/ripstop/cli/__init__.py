"""The command line: one file per command. What a command needs is imported when it runs, so that all start fast."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer

from ripstop.cli import (
    apply,
    demo,
    documents,
    edges,
    explain,
    gateway,
    get,
    proxy,
    run,
    schema,
    status,
    tap,
    token,
    top,
    up,
)
from ripstop.cli.output import show_error
from ripstop.errors import RipstopError

app = typer.Typer(
    name="ripstop",
    help="A service mesh that you can pip install: discovery, load balancing, breakers, mTLS, metrics. No Kubernetes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    up,
    run,
    gateway,
    apply,
    documents,
    get,
    status,
    explain,
    edges,
    top,
    tap,
    token,
    schema,
    proxy,
    demo,
):
    module.add_to(app)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if version:
        from ripstop import __version__

        print(f"ripstop {__version__}")
        raise typer.Exit


USAGE_ERROR: Any = typer.BadParameter.__mro__[1]
"""click's UsageError, of whichever click typer brings."""


def _quiet_grpc() -> None:
    """gRPC's own log lines and fork handlers are not for our users; it reads these once, when it is imported."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")


def main() -> None:
    """The entry point. Refusals are told with their cure; the exit code is 1, for wrong usage 2, for Ctrl-C 130."""
    _quiet_grpc()
    try:
        code = app(standalone_mode=False)
    except RipstopError as error:
        show_error(error)
        code = 1
    except USAGE_ERROR as error:
        error.show()
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except BrokenPipeError:
        code = 141
    sys.exit(code if isinstance(code, int) else 0)
