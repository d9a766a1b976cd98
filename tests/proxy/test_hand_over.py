"""The native data plane alone: one process takes over from another, and a graceful drain."""

from __future__ import annotations

import http.client
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.load import Load, eventually

from ripstop.errors import Unavailable
from ripstop.proxy.native import find_native
from ripstop.proxy.sidecar import free_port
from ripstop.xds import pb

API = "type.googleapis.com/envoy."
MANAGER = "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
SOON_S = 20.0


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """After as many seconds as the path says."""
        self.rfile.read(int(self.headers.get("content-length") or 0))
        time.sleep(float(self.path.strip("/") or 0))
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def upstream() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()


class Proxies:
    """Processes of one bootstrap: a listener, an upstream, an admin interface on TCP."""

    def __init__(self, directory: Path, upstream: int) -> None:
        self.pipe = directory / "in.sock"
        directory.chmod(0o700)
        self.port, self.admin = free_port(), free_port()
        self.directory, self.hand_over = directory, directory / "hand-over.sock"
        self.bootstrap = directory / "bootstrap.pb"
        self.write(self.config(upstream))
        self.processes: list[subprocess.Popen[bytes]] = []

    def write(self, config: dict[str, Any]) -> None:
        self.bootstrap.write_bytes(pb.to_bytes(pb.from_dict(pb.Bootstrap, config)))

    def config(self, upstream: int) -> dict[str, Any]:
        def address(port: int) -> dict[str, Any]:
            return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

        manager = {
            "@type": API + MANAGER,
            "stat_prefix": "in",
            "route_config": {
                "virtual_hosts": [
                    {
                        "name": "all",
                        "domains": ["*"],
                        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "up"}}],
                    }
                ]
            },
            "http_filters": [
                {
                    "name": "router",
                    "typed_config": {"@type": API + "extensions.filters.http.router.v3.Router"},
                }
            ],
        }
        endpoint = {"endpoint": {"address": address(upstream)}}
        return {
            "admin": {"address": address(self.admin)},
            "node": {"id": "test", "cluster": "test"},
            "static_resources": {
                "listeners": [
                    {
                        "name": "in",
                        "address": address(self.port),
                        "traffic_direction": "INBOUND",
                        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                    },
                    {
                        "name": "pipe",
                        "address": {"pipe": {"path": str(self.pipe)}},
                        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                    },
                ],
                "clusters": [
                    {
                        "name": "up",
                        "type": "STATIC",
                        "connect_timeout": "2s",
                        "load_assignment": {
                            "cluster_name": "up",
                            "endpoints": [{"lb_endpoints": [endpoint]}],
                        },
                    }
                ],
            },
        }

    def start(self, concurrency: int = 1, drain_s: int = 1) -> subprocess.Popen[bytes]:
        words = [str(find_native()), "--config", str(self.bootstrap), "--hand-over", str(self.hand_over)]
        words += ["--concurrency", str(concurrency), "--drain-time-s", str(drain_s), "-l", "info"]
        with (self.directory / "log").open("ab") as log:
            self.processes.append(subprocess.Popen(words, stdout=log, stderr=log))
        return self.processes[-1]

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def ask(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.admin}{path}", timeout=SOON_S)

    def wait_ready(self) -> None:
        eventually(lambda: self.ask("/ready").status_code == 200, self.log)

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@contextmanager
def running(directory: Path, upstream: int, **options: int) -> Iterator[Proxies]:
    try:
        find_native()
    except Unavailable as why:
        pytest.skip(str(why))
    proxies = Proxies(directory, upstream)
    try:
        proxies.start(**options)
        proxies.wait_ready()
        yield proxies
    finally:
        proxies.stop()


def calls(proxies: Proxies) -> Load:
    """Two callers that keep their connections, one that makes a new one for each call."""
    return Load(f"http://127.0.0.1:{proxies.port}/", callers=2, strangers=1, pause_s=0.001)


@contextmanager
def under_way(proxies: Proxies, path: str) -> Iterator[Future[httpx.Response]]:
    """A call whose answer takes so many seconds (the path), once it is on its way."""
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(httpx.get, f"http://127.0.0.1:{proxies.port}/{path}", timeout=SOON_S)
        eventually(lambda: "downstream_rq_active: 1" in proxies.ask("/stats").text, proxies.log)
        yield slow


def test_no_call_fails_while_processes_of_different_size_take_over(tmp_path: Path, upstream: int) -> None:
    """20 times; with one thread, with three that share its socket, with two that share the three's."""
    with running(tmp_path, upstream) as proxies, calls(proxies) as load:
        for number in range(20):
            before = proxies.processes[-1]
            proxies.start(concurrency=(3, 2, 1)[number % 3])
            assert before.wait(SOON_S) == 0, proxies.log()
            load.wait_for(10)
        proxies.wait_ready()
        assert proxies.processes[-1].poll() is None
    assert load.failures == []


def test_a_process_that_does_not_get_ready_leaves_the_one_before_it_serving(
    tmp_path: Path, upstream: int
) -> None:
    """Its control plane never answers; it gives up after the 15 s of an initialisation."""
    with running(tmp_path, upstream) as proxies, calls(proxies) as load:
        config = proxies.config(upstream)
        config["static_resources"]["clusters"].append(
            config["static_resources"]["clusters"][0] | {"name": "ads"}
        )
        ads = {"api_type": "DELTA_GRPC", "grpc_services": [{"envoy_grpc": {"cluster_name": "ads"}}]}
        config["dynamic_resources"] = {
            "ads_config": ads,
            "lds_config": {"ads": {}},
            "cds_config": {"ads": {}},
        }
        proxies.write(config)
        assert proxies.start().wait(SOON_S + 15) == 1
        assert "the process before this one goes on" in proxies.log()
        assert proxies.processes[0].poll() is None
        assert proxies.ask("/ready").text == "LIVE\n"
        proxies.write(proxies.config(upstream))
        proxies.start()
        assert proxies.processes[0].wait(SOON_S) == 0, proxies.log()
    assert load.failures == []


def test_sockets_in_the_file_system_are_handed_over_too(tmp_path: Path, upstream: int) -> None:
    with running(tmp_path, upstream) as proxies:
        inode = proxies.pipe.stat().st_ino
        for _ in range(2):
            before = proxies.processes[-1]
            proxies.start(concurrency=2)
            assert before.wait(SOON_S) == 0, proxies.log()
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(proxies.pipe))) as client:
                assert client.get("http://pipe/").text == "ok"
        assert proxies.pipe.stat().st_ino == inode


def test_what_listens_does_not_become_more_from_process_to_process(tmp_path: Path, upstream: int) -> None:
    with running(tmp_path, upstream) as proxies:
        counts = []
        for number in range(6):
            before = proxies.processes[-1]
            proxies.start(concurrency=(3, 1)[number % 2])
            assert before.wait(SOON_S) == 0, proxies.log()
            proxies.wait_ready()
            counts.append(len(list(Path(f"/proc/{proxies.processes[-1].pid}/fd").iterdir())))
        assert max(counts[4:]) <= max(counts[:2]), counts


def test_nobody_finds_a_process_that_has_ended(tmp_path: Path, upstream: int) -> None:
    with running(tmp_path, upstream) as proxies:
        eventually(proxies.hand_over.exists, proxies.log)
        proxies.processes[0].terminate()
        assert proxies.processes[0].wait(SOON_S) == 0
        assert not proxies.hand_over.exists()


def test_a_connection_that_stays_idle_is_closed_by_the_deadline(tmp_path: Path, upstream: int) -> None:
    with running(tmp_path, upstream) as proxies:
        idle = http.client.HTTPConnection("127.0.0.1", proxies.port, timeout=SOON_S)
        idle.request("GET", "/")
        assert idle.getresponse().read() == b"ok"
        proxies.start()
        assert proxies.processes[0].wait(SOON_S) == 0
        assert idle.sock.recv(1) == b""


def test_a_connection_that_is_used_while_its_process_ends_hears_it_with_an_answer(
    tmp_path: Path, upstream: int
) -> None:
    with running(tmp_path, upstream, drain_s=8) as proxies:
        used = http.client.HTTPConnection("127.0.0.1", proxies.port, timeout=SOON_S)
        used.request("GET", "/")
        assert used.getresponse().read() == b"ok"
        proxies.start()
        eventually(lambda: "the process before us drains" in proxies.log(), proxies.log)
        used.request("GET", "/")
        answer = used.getresponse()
        assert (answer.read(), answer.getheader("connection")) == (b"ok", "close")
        assert proxies.processes[0].wait(SOON_S) == 0


def test_a_request_on_its_way_is_answered_while_the_process_ends(tmp_path: Path, upstream: int) -> None:
    with running(tmp_path, upstream, drain_s=15) as proxies, under_way(proxies, "1.5") as slow:
        proxies.processes[0].terminate()
        answer = slow.result()
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert proxies.processes[0].wait(SOON_S) == 0


def test_what_is_on_its_way_at_the_deadline_is_cut(tmp_path: Path, upstream: int) -> None:
    with running(tmp_path, upstream, drain_s=1) as proxies, under_way(proxies, "15") as slow:
        proxies.processes[0].terminate()
        assert proxies.processes[0].wait(10) == 0
        with pytest.raises(httpx.RemoteProtocolError):
            slow.result()


def test_what_a_closed_listener_carries_is_cut_after_the_drain_time(tmp_path: Path, upstream: int) -> None:
    with running(tmp_path, upstream, drain_s=1) as proxies, under_way(proxies, "15") as slow:
        drain(proxies, "")
        with pytest.raises(httpx.RemoteProtocolError):
            slow.result(10)
        assert proxies.ask("/ready").status_code == 200


def test_the_path_must_be_in_a_directory_of_our_own(tmp_path: Path, upstream: int) -> None:
    with running(tmp_path, upstream) as proxies:
        proxies.processes[0].terminate()
        proxies.processes[0].wait()
        assert proxies.hand_over.parent == tmp_path
        tmp_path.chmod(0o777)
        assert proxies.start().wait(SOON_S) == 1
        assert "others may write to its directory" in proxies.log()


def drain(proxies: Proxies, query: str) -> None:
    httpx.post(f"http://127.0.0.1:{proxies.admin}/drain_listeners?{query}", timeout=SOON_S).raise_for_status()


def closes(proxies: Proxies) -> bool:
    """Whether an answer says that it is the last of its connection."""
    answer = httpx.get(f"http://127.0.0.1:{proxies.port}/", timeout=SOON_S)
    assert answer.status_code == 200
    return bool(answer.headers.get("connection") == "close")


def is_refused(proxies: Proxies) -> bool:
    try:
        assert closes(proxies)
    except httpx.ConnectError:
        return True
    return False


def test_a_graceful_drain_goes_on_accepting_for_the_drain_time(tmp_path: Path, upstream: int) -> None:
    with running(tmp_path, upstream, drain_s=3) as proxies:
        assert not closes(proxies)
        drain(proxies, "graceful")
        assert closes(proxies)
        eventually(lambda: is_refused(proxies), proxies.log)
        assert proxies.ask("/ready").status_code == 200


def test_a_graceful_drain_that_skips_the_exit_accepts_for_ever(tmp_path: Path, upstream: int) -> None:
    with running(tmp_path, upstream, drain_s=1) as proxies:
        drain(proxies, "inboundonly&graceful&skip_exit")
        time.sleep(2)
        assert closes(proxies)


def test_a_drain_that_is_not_graceful_accepts_nothing_more(tmp_path: Path, upstream: int) -> None:
    with running(tmp_path, upstream) as proxies:
        drain(proxies, "")
        eventually(lambda: is_refused(proxies), proxies.log)
