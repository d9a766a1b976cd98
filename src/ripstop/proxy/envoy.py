"""Envoy as the data plane: where it is found, and how it is started."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from ripstop.errors import Unavailable
from ripstop.proxy.program import Files, Program, common_arguments, first_executable


def find_envoy() -> Path:
    """The Envoy to run: RIPSTOP_ENVOY, the one that `pip install ripstop[envoy]` brings, or the PATH's.

    Raises:
        Unavailable: there is none.
    """
    given = os.environ.get("RIPSTOP_ENVOY")
    spec = importlib.util.find_spec("envoy")
    packaged = (
        [Path(place) / "_bin" / "envoy" for place in (spec.submodule_search_locations or ())] if spec else []
    )
    on_path = shutil.which("envoy")
    found = first_executable([Path(given) if given else None, *packaged, Path(on_path) if on_path else None])
    if found is None:
        raise Unavailable(
            "there is no Envoy to run",
            cure="pip install 'ripstop[envoy]', set RIPSTOP_ENVOY to an Envoy 1.40, or use --data-plane native",
        )
    return found


def _arguments(files: Files) -> list[str]:
    return [
        "--config-path",
        str(files.bootstrap),
        "--disable-hot-restart",
        "--file-flush-interval-msec",
        "1000",
        "--drain-strategy",
        "immediate",
        *common_arguments(),
    ]


ENVOY = Program(name="Envoy", find=find_envoy, arguments=_arguments)


def proxy_command(config: Path, concurrency: int) -> list[str]:
    """The command of `ripstop proxy --data-plane envoy`; Envoy reads the file itself.

    Raises:
        Unavailable: there is no Envoy.
    """
    words = [str(find_envoy()), "--config-path", str(config), "--disable-hot-restart"]
    return [*words, "--concurrency", str(concurrency)]
