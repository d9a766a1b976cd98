"""The native data plane, `ripstop-proxy`: where it is found, and how it is started."""

from __future__ import annotations

import os
from pathlib import Path

import ripstop
from ripstop.errors import Unavailable
from ripstop.proxy.program import Files, Program, common_arguments, first_executable, memory_limit_mb

BINARY = "ripstop-proxy"


def find_native() -> Path:
    """The `ripstop-proxy` to run: RIPSTOP_PROXY, the one in the package, or the newest that the checkout has built.

    Raises:
        Unavailable: there is none.
    """
    given = os.environ.get("RIPSTOP_PROXY")
    package = Path(ripstop.__file__).parent
    found = first_executable(
        [Path(given) if given else None, package / "_bin" / BINARY, *_built_in_checkout(package)]
    )
    if found is None:
        raise Unavailable(
            f"there is no {BINARY} to run",
            cure="build it with `make release`, set RIPSTOP_PROXY to one, or use --data-plane envoy",
        )
    return found


def _built_in_checkout(package: Path) -> list[Path | None]:
    """What cargo has left in the checkout that the package is part of, newest first."""
    target = package.parent.parent / "target"
    built = [target / profile / BINARY for profile in ("release", "debug")]
    return [*sorted(filter(Path.is_file, built), key=lambda path: -path.stat().st_mtime)]


def _arguments(files: Files) -> list[str]:
    words = ["--config", str(files.bootstrap), *common_arguments(), *memory_arguments(memory_limit_mb())]
    words += ["--snapshot", str(files.snapshot)] if files.snapshot else []
    return words + (["--hand-over", str(files.hand_over)] if files.hand_over else [])


def memory_arguments(limit_mb: int | None) -> list[str]:
    """How `ripstop-proxy` is told its bound of resident memory, in MiB; None: its own default."""
    return [] if limit_mb is None else ["--memory-limit-mb", str(limit_mb)]


NATIVE = Program(name=BINARY, find=find_native, arguments=_arguments, hands_over=True)


def proxy_command(bootstrap: Path, concurrency: int, limit_mb: int | None = None) -> list[str]:
    """The command of `ripstop proxy --data-plane native`, for a serialized Bootstrap.

    Raises:
        Unavailable: there is no `ripstop-proxy`.
    """
    command = [str(find_native()), "--config", str(bootstrap), "--concurrency", str(concurrency)]
    return [*command, *memory_arguments(limit_mb)]
