"""What a process is told at start: where its state is, where the control plane is, what it may listen on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ripstop.errors import RipstopError, Unavailable

DEFAULT_API = "127.0.0.1:8470"
DEFAULT_ADS = "127.0.0.1:8471"
SOCKET_PATH_MAX = 100
"""Characters: a unix socket's path is at most 108 bytes (unix(7))."""


@dataclass(frozen=True, slots=True)
class State:
    """The directory that a control plane keeps everything in, and agents what they need to start without it."""

    path: Path

    @classmethod
    def of(cls, given: Path | None, env: Mapping[str, str] = os.environ) -> State:
        """`--state`, else `$RIPSTOP_STATE`, else ``~/.local/state/ripstop`` (XDG base directories)."""
        if given is not None:
            return cls(given.absolute())
        if env.get("RIPSTOP_STATE"):
            return cls(Path(env["RIPSTOP_STATE"]).absolute())
        base = env.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        return cls(Path(base) / "ripstop")

    @property
    def socket(self) -> Path:
        """The unix socket of the API."""
        return self.path / "ripstop.sock"

    @property
    def database(self) -> Path:
        """Documents, registrations, certificates, history."""
        return self.path / "ripstop.db"

    @property
    def authority(self) -> Path:
        """The certificate authority's keys."""
        return self.path / "ca"

    @property
    def agents(self) -> Path:
        """What agents on this host keep from one start to the next."""
        return self.path / "agents"

    @property
    def operator_token(self) -> Path:
        """The token of operators who are not on this host."""
        return self.path / "operator.token"

    def prepare(self) -> None:
        """Make the directory, for our user alone.

        Raises:
            Unavailable: it cannot be made, is not ours, or its path is too long for a socket.
        """
        if len(os.fsencode(self.socket)) > SOCKET_PATH_MAX:
            raise Unavailable(
                f"the path {self.socket} is too long for a unix socket",
                cure="choose a --state directory with a shorter path",
            )
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
        except OSError as error:
            raise Unavailable(
                f"cannot use the state directory {self.path}: {error.strerror or error}",
                cure="choose one that you may write with --state DIR or RIPSTOP_STATE",
            ) from error


@dataclass(frozen=True, slots=True)
class Address:
    """HOST:PORT."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``HOST:PORT``, ``[V6]:PORT`` or ``:PORT`` (loopback).

        Raises:
            RipstopError: it is none.
        """
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdigit() or int(port) > 65535:
            raise RipstopError(f"{text!r} is not an address", cure="write HOST:PORT, like 127.0.0.1:8470")
        return cls(host.strip("[]") or "127.0.0.1", int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this host can reach it."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")
