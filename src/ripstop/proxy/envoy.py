"""Envoy as the data plane: where it is found, and how it is started."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from pathlib import Path

from ripstop.errors import Unavailable
from ripstop.proxy.program import Files, Program, common_arguments, first_executable, memory_limit_mb

_ACTIONS = (
    ("shrink_heap", 0.85),
    ("disable_http_keepalive", 0.85),
    ("stop_accepting_requests", 0.85),
    ("reject_incoming_connections", 0.95),
)
"""The stages of the native data plane, as far as Envoy has them."""


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
        *memory_arguments(memory_limit_mb()),
    ]


def memory_arguments(limit_mb: int | None) -> list[str]:
    """An overload manager beside the bootstrap: Envoy sheds load above 85 % and 95 % of a heap, in MiB; None: never.

    Envoy puts `--config-yaml` over the file of `--config-path`; of a heap it counts what its allocator holds.
    """
    return [] if limit_mb is None else ["--config-yaml", json.dumps(_overload_manager(limit_mb))]


def _overload_manager(limit_mb: int) -> dict[str, object]:
    monitor = "envoy.resource_monitors.fixed_heap"
    config = {
        "@type": "type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
        "max_heap_size_bytes": limit_mb * 1024 * 1024,
    }
    actions = [
        {
            "name": f"envoy.overload_actions.{action}",
            "triggers": [{"name": monitor, "threshold": {"value": share}}],
        }
        for action, share in _ACTIONS
    ]
    monitors = [{"name": monitor, "typed_config": config}]
    return {"overload_manager": {"resource_monitors": monitors, "actions": actions}}


ENVOY = Program(name="Envoy", find=find_envoy, arguments=_arguments)


def proxy_command(config: Path, concurrency: int, limit_mb: int | None = None) -> list[str]:
    """The command of `ripstop proxy --data-plane envoy`; Envoy reads the file itself.

    Raises:
        Unavailable: there is no Envoy.
    """
    words = [str(find_envoy()), "--config-path", str(config), "--disable-hot-restart"]
    return [*words, "--concurrency", str(concurrency), *memory_arguments(limit_mb)]
