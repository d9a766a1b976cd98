"""What a request over kept-alive connections asks of the kernel: two reads, two writes, hardly more than one wait."""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from benches.hop import bootstrap
from benches.hop.path import Hop

from ripstop.proxy.native import find_native
from ripstop.proxy.sidecar import free_port

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        shutil.which("strace") is None, reason="there is no strace here: apt-get install strace"
    ),
]
CONNECTIONS = 64
REQUESTS = 6_400
REQUEST = b"GET /a HTTP/1.1\r\nhost: a.test\r\nuser-agent: strict/1\r\naccept: */*\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello"
READS = {"recvfrom", "recvmsg", "read", "readv"}
WRITES = {"sendto", "sendmsg", "write", "writev"}
WAITS = {"epoll_wait", "epoll_pwait", "epoll_pwait2"}


class Ends:
    """Clients and the upstream of a proxy, in one thread: each request is asked once the one before is answered."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._upstream = socket.create_server(("127.0.0.1", 0))
        self._upstream.setblocking(False)
        self._selector.register(self._upstream, selectors.EVENT_READ, self._accept)
        self._clients: list[socket.socket] = []
        self.answers = 0
        self.port: int = self._upstream.getsockname()[1]

    def connect(self, port: int) -> None:
        for _ in range(CONNECTIONS):
            client = socket.create_connection(("127.0.0.1", port), timeout=10)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(client, selectors.EVENT_READ, self._answered)
            self._clients.append(client)

    def exchange(self, requests: int) -> None:
        """Ask and answer until so many requests are answered, and none is under way."""
        self.answers, self._wanted = 0, requests
        self._asked = len(self._clients)
        for client in self._clients:
            client.sendall(REQUEST)
        patience = time.monotonic() + 60
        while self.answers < self._wanted:
            assert time.monotonic() < patience, f"{self.answers} of {self._wanted} answered"
            for key, _ in self._selector.select(1):
                key.data(key.fileobj)

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def _accept(self, listener: socket.socket) -> None:
        accepted, _ = listener.accept()
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(accepted, selectors.EVENT_READ, self._asked_for)

    def _asked_for(self, upstream: socket.socket) -> None:
        if upstream.recv(4096):
            upstream.sendall(ANSWER)
        else:
            self._selector.unregister(upstream)
            upstream.close()

    def _answered(self, client: socket.socket) -> None:
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
        self.answers += 1
        if self._asked < self._wanted:
            self._asked += 1
            client.sendall(REQUEST)


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.close()


@contextmanager
def proxy(directory: Path, upstream: int) -> Iterator[tuple[int, int]]:
    """A hop with the mesh's features on: its process and its port."""
    listen = free_port()
    (file,) = bootstrap.hop(Hop(directory=directory, listen=listen, upstream=upstream), has_full_logs=False)
    words = [str(find_native()), "--config", str(file), "--concurrency", "1", "--log-level", "warning"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT)
    try:
        patience = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", listen)) == 0:
                    break
            assert process.poll() is None and time.monotonic() < patience, (directory / "log").read_text()
            time.sleep(0.05)
        yield process.pid, listen
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def counted(pid: int, file: Path) -> Iterator[None]:
    """Count the system calls of a process while the block runs."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-c", "-U", "calls,errors,name", "-o", str(file), "-p", str(pid)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert tracer.stderr
    said = tracer.stderr.readline()
    if "attached" not in said:
        tracer.wait(10)
        pytest.skip(f"strace may not look at other processes here: {said.strip()}")
    time.sleep(0.3)  # all threads
    try:
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(20)


def read(file: Path) -> tuple[Counter[str], Counter[str]]:
    """Calls and errors by name."""
    calls: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    for line in file.read_text().splitlines():
        if found := re.match(r"\s*(\d+)\s+(\d+)?\s+([a-z_0-9]+)\s*$", line):
            calls[found[3]] += int(found[1])
            errors[found[3]] += int(found[2] or 0)
    calls.pop("total", None)
    return calls, errors


def test_a_request_costs_two_reads_two_writes_and_a_share_of_a_wait(tmp_path: Path, ends: Ends) -> None:
    allowed = os.sched_getaffinity(0)
    with proxy(tmp_path, ends.port) as (pid, port):
        # On one CPU, as on a busy machine: the proxy finds several sockets ready at once.
        one = {min(allowed)}
        os.sched_setaffinity(0, one)
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), one)
        try:
            ends.connect(port)
            ends.exchange(CONNECTIONS * 10)
            with counted(pid, tmp_path / "calls"):
                ends.exchange(REQUESTS)
        finally:
            os.sched_setaffinity(0, allowed)
    calls, errors = read(tmp_path / "calls")
    said = f"\n{(tmp_path / 'calls').read_text()}"
    transfers = sum(calls[name] for name in READS | WRITES)
    assert transfers <= 4.05 * REQUESTS, said
    assert sum(errors[name] for name in READS | WRITES) <= 0.01 * REQUESTS, said
    assert sum(calls[name] for name in WAITS) <= 1.1 * REQUESTS, said
    assert calls["epoll_ctl"] <= 0.01 * REQUESTS, said
