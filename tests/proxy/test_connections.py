"""HTTP with what Python brings along: connections are kept, and one that the server closed is nobody's trouble."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ripstop.proxy.connections import FAILURES, Answer, Connections

READ_S = 10.0


class Server:
    """Answers each request with its number of the connection's; `closes` after each without having said so."""

    def __init__(self, path: Path, *, closes: bool = False, says: bytes = b"") -> None:
        self.connections = 0
        self.closed = threading.Event()
        self._closes, self._says = closes, says
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._answer(connection)
        self.closed.set()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            number = 0
            while lines.readline():
                size = 0
                while (line := lines.readline()) not in (b"\r\n", b""):
                    name, _, value = line.partition(b":")
                    size = int(value) if name.lower() == b"content-length" else size
                body = lines.read(size) or b"%d" % number
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
                connection.sendall(self._says or head + body)
                number += 1
                if self._closes or self._says:
                    return

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "http.sock"


@contextlib.contextmanager
def serving(server: Server, path: Path) -> Iterator[Connections]:
    with contextlib.closing(server), contextlib.closing(Connections.unix(path, 5.0)) as connections:
        yield connections


def test_a_connection_is_used_again(path: Path) -> None:
    server = Server(path)
    with serving(server, path) as connections:
        answers = [connections.ask("GET", "/", read_s=READ_S) for _ in range(3)]
    assert answers == [Answer(200, b"0"), Answer(200, b"1"), Answer(200, b"2")]
    assert server.connections == 1


def test_a_body_is_sent(path: Path) -> None:
    with serving(Server(path), path) as connections:
        assert connections.ask("POST", "/", body=b'{"a": 1}', read_s=READ_S).body == b'{"a": 1}'


def test_a_connection_that_the_server_closed_is_not_used_again(path: Path) -> None:
    server = Server(path, closes=True)
    with serving(server, path) as connections:
        for _ in range(20):
            assert connections.ask("GET", "/", read_s=READ_S).status == 200
            assert server.closed.wait(READ_S)
            server.closed.clear()


def test_several_threads_ask_at_a_time(path: Path) -> None:
    with serving(Server(path), path) as connections, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: connections.ask("GET", "/", read_s=READ_S), range(64)))
    assert {answer.status for answer in answers} == {200}


@pytest.mark.parametrize("says", [b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut"])
def test_what_is_no_answer_is_a_failure(path: Path, says: bytes) -> None:
    with serving(Server(path, says=says), path) as connections, pytest.raises(FAILURES):
        connections.ask("GET", "/", read_s=READ_S)


def test_nobody_there_is_a_failure(path: Path) -> None:
    with pytest.raises(FAILURES):
        Connections.unix(path, 1.0).ask("GET", "/", read_s=READ_S)
