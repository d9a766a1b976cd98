"""The proxies that are compared: how each is told of its path. One worker each; nothing that it does not need."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benches.hop import bootstrap
from benches.hop.certificates import CALLEE, CALLEE_NAME, CALLER
from benches.hop.path import Hop, MeshPath
from ripstop.errors import Unavailable
from ripstop.proxy.envoy import find_envoy
from ripstop.proxy.native import find_native

Commands = list[list[str]]


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A proxy. Each of `hop` and `mesh` writes its files and gives the commands to start; None where it has no such path."""

    name: str
    hop: Callable[[Hop], Commands | None]
    mesh: Callable[[MeshPath], Commands | None]


def _write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


# --- the floor ---


def floor() -> Peer:
    """Compiled when first asked for."""
    source = Path(__file__).with_name("floor.c")

    def hop(path: Hop) -> Commands | None:
        if path.is_h2:
            return None
        binary = path.directory / "floor"
        subprocess.run(["cc", "-O2", "-o", str(binary), str(source)], check=True)
        return [[str(binary), str(path.listen), str(path.upstream)]]

    return Peer(name="floor", hop=hop, mesh=lambda _: None)


# --- HAProxy ---

_HAPROXY = """global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  http-reuse always
  option http-keep-alive
frontend front
  bind 127.0.0.1:{bind} backlog 4096
  default_backend back
backend back
  server one 127.0.0.1:{server}
"""


def _haproxy(path: Path, bind: str, server: str) -> list[str]:
    return ["haproxy", "-db", "-f", _write(path, _HAPROXY.format(bind=bind, server=server))]


def haproxy() -> Peer:
    def hop(path: Hop) -> Commands:
        protocol = " proto h2" if path.is_h2 else ""
        return [_haproxy(path.directory / "hop.cfg", f"{path.listen}{protocol}", str(path.upstream))]

    def mesh(path: MeshPath) -> Commands:
        files = path.certificates
        tls = f"verify required ca-file {files.authority} alpn {path.alpn}"
        names = f"verifyhost {CALLEE_NAME} sni str({CALLEE_NAME})"
        out = f"{path.middle} ssl crt {files.file(CALLER, 'both')} {tls} {names} force-tlsv13"
        into = f"{path.middle} ssl crt {files.file(CALLEE, 'both')} {tls} force-tlsv13"
        return [
            _haproxy(path.directory / "caller.cfg", str(path.listen), out),
            _haproxy(path.directory / "callee.cfg", into, str(path.upstream)),
        ]

    return Peer(name="haproxy", hop=hop, mesh=mesh)


# --- nginx ---

NGINX = """worker_processes 1;
daemon off;
pid {directory}/{name}.pid;
error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  keepalive_timeout 300s;
  sendfile on;
  tcp_nodelay on;
  client_max_body_size 0;
{content}
}}
"""
_NGINX_PROXY = """  upstream one {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{listen} backlog=4096;
    {server}
    location / {{
      proxy_pass {scheme}://one;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      {location}
    }}
  }}"""


def nginx_command(directory: Path, name: str, content: str) -> list[str]:
    """An nginx with the content of its `http` block."""
    text = NGINX.format(directory=directory, name=name, content=content)
    return ["nginx", "-c", _write(directory / f"{name}.conf", text)]


def _nginx_proxy(
    listen: str, upstream: int, scheme: str = "http", server: str = "", location: str = ""
) -> str:
    return _NGINX_PROXY.format(
        listen=listen, upstream=upstream, scheme=scheme, server=server, location=location
    )


def nginx() -> Peer:
    def hop(path: Hop) -> Commands:
        listen = f"{path.listen} http2" if path.is_h2 else str(path.listen)
        return [nginx_command(path.directory, "hop", _nginx_proxy(listen, path.upstream))]

    def mesh(path: MeshPath) -> Commands | None:
        if path.alpn == "h2":
            return None  # nginx speaks no HTTP/2 to upstreams
        files = path.certificates
        location = (
            f"proxy_ssl_certificate {files.file(CALLER, 'pem')};"
            f" proxy_ssl_certificate_key {files.file(CALLER, 'key')};"
            f" proxy_ssl_trusted_certificate {files.authority}; proxy_ssl_verify on;"
            f" proxy_ssl_name {CALLEE_NAME}; proxy_ssl_server_name on; proxy_ssl_protocols TLSv1.3;"
        )
        server = (
            f"ssl_certificate {files.file(CALLEE, 'pem')}; ssl_certificate_key {files.file(CALLEE, 'key')};"
            f" ssl_client_certificate {files.authority}; ssl_verify_client on; ssl_protocols TLSv1.3;"
        )
        out = _nginx_proxy(str(path.listen), path.middle, "https", location=location)
        into = _nginx_proxy(f"{path.middle} ssl", path.upstream, server=server)
        return [
            nginx_command(path.directory, "caller", out),
            nginx_command(path.directory, "callee", into),
        ]

    return Peer(name="nginx", hop=hop, mesh=mesh)


# --- Envoy, and the native data plane with the same bytes ---


def envoy(*, has_full_logs: bool) -> Peer:
    return _of_bootstrap("envoy", _envoy_command, has_full_logs)


def native(*, has_full_logs: bool) -> Peer:
    return _of_bootstrap("native", _native_command, has_full_logs)


def _of_bootstrap(name: str, command: Callable[[Path], list[str]], has_full_logs: bool) -> Peer:
    def hop(path: Hop) -> Commands:
        return [command(file) for file in bootstrap.hop(path, has_full_logs=has_full_logs)]

    def mesh(path: MeshPath) -> Commands:
        return [command(file) for file in bootstrap.mesh(path, has_full_logs=has_full_logs)]

    return Peer(name=name, hop=hop, mesh=mesh)


def _envoy_command(file: Path) -> list[str]:
    words = ["--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]
    return [str(find_envoy()), "--config-path", str(file), *words]


def _native_command(file: Path) -> list[str]:
    return [str(find_native()), "--config", str(file), "--concurrency", "1", "--log-level", "error"]


# --- which are here ---


def here(*, has_full_logs: bool) -> tuple[list[Peer], dict[str, str]]:
    """The peers that this machine has, and why it has not the others."""
    found: list[Peer] = []
    missing: dict[str, str] = {}
    for peer, look in (
        (floor(), lambda: _on_path("cc")),
        (haproxy(), lambda: _on_path("haproxy")),
        (nginx(), lambda: _on_path("nginx")),
        (envoy(has_full_logs=has_full_logs), find_envoy),
        (native(has_full_logs=has_full_logs), find_native),
    ):
        try:
            look()
            found.append(peer)
        except Unavailable as error:
            missing[peer.name] = error.message
    return found, missing


def _on_path(program: str) -> None:
    if shutil.which(program) is None:
        raise Unavailable(f"there is no {program} here")
