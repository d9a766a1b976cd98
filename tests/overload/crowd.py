"""Many clients by bare sockets: each is a file descriptor and nothing else. All of it blocks: call it in a thread."""

from __future__ import annotations

import contextlib
import select
import socket
from types import TracebackType


class Crowd:
    """Connections to one port; they are closed together."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.sockets: list[socket.socket] = []

    def __enter__(self) -> Crowd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sock in self.sockets:
            sock.close()

    def join(self) -> socket.socket:
        sock = socket.socket()
        sock.settimeout(20)
        self.sockets.append(sock)
        sock.connect(("127.0.0.1", self.port))
        return sock

    def send(self, count: int, data: bytes) -> int:
        """So many more connections that each send this, as far as they are let; how many were let."""
        taken = 0
        for _ in range(count):
            with contextlib.suppress(OSError):
                sock = self.join()
                sock.settimeout(0.5)
                sock.sendall(data)
                taken += 1
        return taken

    def ended(self) -> int:
        """How many connections have ended or were told something."""
        poll = select.poll()
        for sock in self.sockets:
            poll.register(sock, select.POLLIN)
        return len(poll.poll(0))


def exchange(sock: socket.socket, data: bytes, until: bytes) -> bytes:
    """Send, and read up to some bytes or the end."""
    sock.sendall(data)
    got = b""
    while until not in got:
        piece = sock.recv(65536)
        if not piece:
            break
        got += piece
    return got
