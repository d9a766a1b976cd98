"""What a client of a real gateway sees. Nothing answers behind it, so 503 means that a request was routed."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl

import pytest
from compiler_scenarios import BY_NAME
from envoy_peer import EnvoyPeer
from mesh_worlds import Ports

from ripstop.compiler import Compiler

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]
ROUTED, NOT_FOUND, MISDIRECTED = 503, 404, 421
CLOSED = 0
"""No answer: the connection was refused at the TLS handshake."""

HTTP = [
    ("shop.example.com", "/", NOT_FOUND, "its listener has no routes, and another's are not its own"),
    ("SHOP.example.com:8080", "/", NOT_FOUND, "neither case nor port matter"),
    ("a.example.com", "/wild", ROUTED, "*.example.com stands for it"),
    ("a.b.example.com:1", "/wild/x", ROUTED, "and for deeper names"),
    ("a.example.com", "/rest", NOT_FOUND, "the listener for any host does not answer for it"),
    ("example.com", "/wild", NOT_FOUND, "*.example.com does not stand for example.com"),
    ("example.com", "/rest", ROUTED, "which the listener for any host has"),
    ("plain.test", "/", ROUTED, "a hostname of a route"),
    ("plain.test", "/secure", 302, "a redirect"),
    ("other.test", "/", NOT_FOUND, "an unknown path"),
]
HTTPS = [
    ("shop.example.com", "shop.example.com", ROUTED),
    ("shop.example.com", "a.example.com", MISDIRECTED),
    ("a.example.com", "a.example.com:8443", ROUTED),
    ("a.example.com", "shop.example.com", MISDIRECTED),
    ("a.example.com", "none.test", MISDIRECTED),
    ("none.test", "none.test", CLOSED),
    ("db.example.com", "a.example.com", CLOSED),
]


async def test_a_request_belongs_to_the_most_specific_listener(peer: EnvoyPeer, local_ports: Ports) -> None:
    await peer.takes(Compiler().compile(*BY_NAME["gateway_http"].make(local_ports)))
    asked = [asyncio.to_thread(get, local_ports(15280), host, path) for host, path, _, _ in HTTP]
    found = [
        (*case[:2], status, case[3]) for case, status in zip(HTTP, await asyncio.gather(*asked), strict=True)
    ]
    assert found == HTTP


async def test_a_connection_for_one_host_is_not_used_for_another(peer: EnvoyPeer, local_ports: Ports) -> None:
    await peer.takes(Compiler().compile(*BY_NAME["gateway_https"].make(local_ports)))
    asked = [asyncio.to_thread(get_tls, local_ports(15443), sni, host) for sni, host, _ in HTTPS]
    statuses = await asyncio.gather(*asked)
    assert [(*case[:2], status) for case, status in zip(HTTPS, statuses, strict=True)] == HTTPS


def get(port: int, host: str, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={"Host": host})
    return connection.getresponse().status


def get_tls(port: int, sni: str, host: str) -> int:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        plain = socket.create_connection(("127.0.0.1", port), timeout=10)
        connection.sock = context.wrap_socket(plain, server_hostname=sni)
    except (ssl.SSLError, ConnectionError):
        return CLOSED
    connection.request("GET", "/", headers={"Host": host})
    return connection.getresponse().status
