"""HTTP/1.1 to one server with what Python brings along: an agent lives as long as its application, beside thousands of
others, and a client library would double its memory. Connections are kept and may be used from several threads."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

IDLE_S = 20.0
"""A connection that rested longer is not used again: the control plane closes one after thirty seconds."""
KEPT_MAX = 4
FAILURES = (OSError, http.client.HTTPException)
"""What `Connections.ask` may raise."""


class Answer(NamedTuple):
    """A response, read to its end."""

    status: int
    body: bytes


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("ripstop", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the path."""
        connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connecting.settimeout(self.timeout)
            connecting.connect(str(self._path))
        except BaseException:
            connecting.close()
            raise
        self.sock = connecting


class Connections:
    """Connections to one server; `connect` makes another."""

    def __init__(self, connect: Callable[[], http.client.HTTPConnection]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._resting: list[tuple[float, http.client.HTTPConnection]] = []

    @classmethod
    def unix(cls, path: Path, connect_s: float) -> Connections:
        """To a unix socket."""
        return cls(lambda: _UnixConnection(path, connect_s))

    @classmethod
    def tls(cls, host: str, port: int | None, context: ssl.SSLContext, connect_s: float) -> Connections:
        """To a host, by TLS."""
        return cls(lambda: http.client.HTTPSConnection(host, port, timeout=connect_s, context=context))

    def ask(
        self,
        method: str,
        target: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        read_s: float,
    ) -> Answer:
        """Send a request and read its answer; `read_s` is how long the server may be silent.

        Raises:
            OSError, http.client.HTTPException: nobody answers, or not in HTTP (`FAILURES`).
        """
        connection = self._take()
        try:
            if connection.sock is None:
                connection.connect()
            connection.sock.settimeout(read_s)
            connection.request(method, target, body, dict(headers or {}))
            response = connection.getresponse()
            answer = Answer(response.status, response.read())
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)
        return answer

    def close(self) -> None:
        """Close what rests; what is in use closes when it comes back too late."""
        with self._lock:
            resting, self._resting = self._resting, []
        for _, connection in resting:
            connection.close()

    def _take(self) -> http.client.HTTPConnection:
        while True:
            with self._lock:
                if not self._resting:
                    return self._connect()
                since, connection = self._resting.pop()
            if time.monotonic() - since < IDLE_S and not _has_news(connection):
                return connection
            connection.close()

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        if connection.sock is None:  # the server wanted it closed
            return
        with self._lock:
            if len(self._resting) < KEPT_MAX:
                self._resting.append((time.monotonic(), connection))
                return
        connection.close()


def _has_news(connection: http.client.HTTPConnection) -> bool:
    """Whether the server said something on a connection at rest: that it is closed, most likely."""
    poll = select.poll()
    with contextlib.suppress(OSError, ValueError):
        poll.register(connection.sock, select.POLLIN)
        return bool(poll.poll(0))
    return True
