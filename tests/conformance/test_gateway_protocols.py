"""Gateways beyond plain HTTP: gRPC, TCP, HTTPS with certificates by name, TLS passed through."""

from __future__ import annotations

import datetime as dt
import json
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis
from conformance_documents import API, document, http_route
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ripstop.proxy.sidecar import free_port

pytestmark = pytest.mark.e2e
APPS = Path(__file__).parents[1] / "peers" / "apps"
METHOD = {"service": "test.Greeter", "method": "Hello"}
ALPHA = "gateway.networking.k8s.io/v1alpha2"


def serve(world: Any, name: str, app: str, protocol: str) -> None:
    port = free_port()
    command = [sys.executable, str(APPS / f"{app}.py"), name, str(port)]
    world.mesh.run(name, "--protocol", protocol, command=command, port=port)


def certificate(host: str) -> tuple[str, str]:
    """A certificate of its own authority, and its key (PEM)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.public_bytes(pem).decode(), key.private_bytes(pem, *form).decode()


def test_grpc_routes(world: Any) -> None:
    serve(world, "greeter", "greeter", "grpc")
    serve(world, "other-greeter", "greeter", "grpc")
    rules = [
        {
            "matches": [{"method": METHOD, "headers": [{"name": "x-to", "value": "other"}]}],
            "backendRefs": [{"name": "other-greeter", "port": 80}],
        },
        {
            "matches": [{"method": METHOD}],
            "backendRefs": [{"name": "greeter", "port": 80}],
        },
    ]
    route = document("GRPCRoute", "greeter", {"parentRefs": [{"name": "edge"}], "rules": rules})
    with world.documents(route), grpc.insecure_channel(f"127.0.0.1:{world.ports['http']}") as channel:
        hello = channel.unary_unary("/test.Greeter/Hello")
        assert hello(b"you", timeout=10) == b"hello you from greeter"
        assert hello(b"you", metadata=(("x-to", "other"),), timeout=10) == b"hello you from other-greeter"
        with pytest.raises(grpc.RpcError) as told:
            channel.unary_unary("/test.Greeter/Count")(b"1", timeout=10)
        assert told.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_tcp_routes(world: Any) -> None:
    serve(world, "cache", "resp", "tcp")
    spec = {
        "parentRefs": [{"name": "edge", "sectionName": "tcp"}],
        "rules": [{"backendRefs": [{"name": "cache", "port": 80}]}],
    }
    with (
        world.documents(document("TCPRoute", "cache", spec, version=ALPHA)),
        redis.Redis(port=world.ports["tcp"], protocol=2, socket_timeout=10) as cache,
    ):
        cache.set("a", "b")
        assert cache.get("a") == b"b"


def https(port: int, server_name: str, trusted: str, path: str = "/") -> tuple[int, str]:
    """(status, body) of one request by TLS; the name is asked for (SNI) and checked."""
    context = ssl.create_default_context(cadata=trusted)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=server_name) as tls,
    ):
        tls.sendall(f"GET {path} HTTP/1.1\r\nhost: {server_name}\r\nconnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: tls.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


def test_https_by_name_and_tls_passed_through(world: Any, tmp_path: Path) -> None:
    port = free_port()
    shop, docs = certificate("shop.example"), certificate("docs.example")
    inner = certificate("inner.example")
    listeners = [
        {
            "name": name,
            "port": port,
            "protocol": "HTTPS",
            "hostname": f"{name}.example",
            "tls": {"certificateRefs": [{"name": name}]},
        }
        for name in ("shop", "docs")
    ]
    listeners.append(
        {
            "name": "inner",
            "port": port,
            "protocol": "TLS",
            "hostname": "inner.example",
            "tls": {"mode": "Passthrough"},
        }
    )
    text = document("Gateway", "secure", {"listeners": listeners}, version=API)
    for name, (pem, key) in (("shop", shop), ("docs", docs)):
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "type": "kubernetes.io/tls",
        }
        text += "\n---\n" + json.dumps({**secret, "stringData": {"tls.crt": pem, "tls.key": key}})
    for name, backend in (("shop", "one"), ("docs", "two")):
        rule = {"backendRefs": [{"name": backend, "port": 80}]}
        text += http_route(f"{name}-route", [rule], parent={"name": "secure"}, section=name)
    tls_port = free_port()
    spec = {"mesh": False, "ports": [{"port": 443, "appProtocol": "tls"}]}
    spec["endpoints"] = {"static": [{"address": "127.0.0.1", "port": tls_port}]}
    text += document("Service", "inner", spec, version="ripstop.dev/v1")
    through = {
        "parentRefs": [{"name": "secure"}],
        "rules": [{"backendRefs": [{"name": "inner", "port": 443}]}],
    }
    text += document("TLSRoute", "inner", through, version=ALPHA)
    server = tls_server(tmp_path, tls_port, inner)
    try:
        with world.documents(text):
            world.mesh.gateway("secure")
            assert json.loads(https(port, "shop.example", shop[0])[1])["service"] == "default/one"
            assert json.loads(https(port, "docs.example", docs[0])[1])["service"] == "default/two"
            assert https(port, "inner.example", inner[0]) == (200, "inner")
            with pytest.raises(ssl.SSLError):
                https(port, "docs.example", shop[0])
            with pytest.raises((ssl.SSLError, OSError)):
                https(port, "nobody.example", shop[0])
    finally:
        server.shutdown()


def tls_server(directory: Path, port: int, identity: tuple[str, str]) -> Any:
    """A server that speaks TLS itself."""
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Inner(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"inner")

        def log_message(self, *_: object) -> None:
            pass

    file = directory / "inner.pem"
    file.write_text("".join(identity))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = ThreadingHTTPServer(("127.0.0.1", port), Inner)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
