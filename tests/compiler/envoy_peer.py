"""A real Envoy and the smallest control plane for it: ADS (delta) by `AdsServerStream`, SDS with a self-signed SVID."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import socket
import urllib.request
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import envoy
import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from envoy.service.discovery.v3 import ads_pb2_grpc
from envoy.service.secret.v3 import sds_pb2_grpc

from ripstop.proxy.bootstrap_file import read_bootstrap
from ripstop.proxy.native import proxy_command
from ripstop.xds import names, pb, type_urls
from ripstop.xds.ads import (
    AdsServerStream,
    Converged,
    Nacked,
    PatienceEnded,
    Requested,
    Send,
    SnapshotChanged,
)
from ripstop.xds.snapshot import Snapshot

BINARY = Path(next(iter(envoy.__path__))) / "_bin" / "envoy"
PATIENCE_S = 0.5
DEADLINE_S = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def self_signed(*, uri: str = "", dns: str = "") -> tuple[str, str]:
    """(certificate, key) as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    san: x509.GeneralName = x509.UniformResourceIdentifier(uri) if uri else x509.DNSName(dns)
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([san]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem).decode(), private.decode()


@dataclass
class ControlPlane(ads_pb2_grpc.AggregatedDiscoveryServiceServicer):
    """Serves the newest snapshot to whoever connects, and notes what came of it."""

    nacks: list[str] = field(default_factory=list)
    acked: set[int] = field(default_factory=set)
    trouble: list[str] = field(default_factory=list)
    _snapshot: Snapshot | None = None
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _events: list[asyncio.Queue[Any]] = field(default_factory=list)

    async def push(self, snapshot: Snapshot) -> list[str]:
        """Serve `snapshot` until the client has taken it; what it refused."""
        self._snapshot, self.nacks = snapshot, []
        for queue in self._events:
            queue.put_nowait(SnapshotChanged(snapshot))
        async with asyncio.timeout(DEADLINE_S), self._changed:
            await self._changed.wait_for(lambda: snapshot.generation in self.acked)
        return self.nacks

    async def DeltaAggregatedResources(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        async for message in self._stream(requests, delta=True):
            yield message

    async def StreamAggregatedResources(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        async for message in self._stream(requests, delta=False):
            yield message

    async def _stream(self, requests: Any, *, delta: bool) -> AsyncIterator[Any]:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self._events.append(queue)
        reader = asyncio.create_task(self._read(requests, queue))
        stream = AdsServerStream(delta)
        if self._snapshot:
            queue.put_nowait(SnapshotChanged(self._snapshot))
        try:
            while (event := await self._next(queue, stream)) is not None:
                for action in stream.step(event):
                    if isinstance(action, Send):
                        yield action.message
                    else:
                        await self._note(action)
        finally:
            reader.cancel()
            self._events.remove(queue)

    @staticmethod
    async def _read(requests: Any, queue: asyncio.Queue[Any]) -> None:
        async for request in requests:
            queue.put_nowait(Requested(request))
        queue.put_nowait(None)

    @staticmethod
    async def _next(queue: asyncio.Queue[Any], stream: AdsServerStream) -> Any:
        if not stream.lacks_subscriptions:
            return await queue.get()
        try:
            return await asyncio.wait_for(queue.get(), PATIENCE_S)
        except TimeoutError:
            return PatienceEnded()

    async def _note(self, action: object) -> None:
        match action:
            case Nacked(nack):
                self.nacks.append(f"{type_urls.SHORT_NAMES[nack.type_url]} {nack.names}: {nack.message}")
            case Converged(generation):
                async with self._changed:
                    self.acked.add(generation)
                    self._changed.notify_all()


class Secrets(sds_pb2_grpc.SecretDiscoveryServiceServicer):
    """`svid` and `trust` as the agent would give them."""

    def __init__(self, certificate: str, key: str) -> None:
        chain = {"inline_string": certificate}
        self._secrets = {
            names.SVID: pb.Secret(
                name=names.SVID,
                tls_certificate={"certificate_chain": chain, "private_key": {"inline_string": key}},
            ),
            names.TRUST: pb.Secret(name=names.TRUST, validation_context={"trusted_ca": chain}),
        }

    async def StreamSecrets(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            if request.response_nonce:
                continue
            found = [self._secrets[name] for name in request.resource_names]
            yield pb.DiscoveryResponse(
                version_info="1",
                nonce="1",
                type_url=type_urls.SECRET,
                resources=[pb.any_of(type_urls.SECRET, pb.to_bytes(secret)) for secret in found],
            )


@dataclass(frozen=True)
class EnvoyPeer:
    """A running Envoy that takes what `control` serves."""

    control: ControlPlane
    admin_port: int
    log: Path

    def admin(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}{path}", timeout=10) as answer:
            return answer.read().decode()

    async def takes(self, snapshot: Snapshot) -> None:
        """Have Envoy run `snapshot`: nothing is refused, and every listener opens."""
        generation = max(self.control.acked, default=0) + 1
        assert await self.control.push(replace(snapshot, generation=generation)) == []
        wanted = dict.fromkeys(snapshot.of_type(type_urls.LISTENER), "active")
        async with asyncio.timeout(DEADLINE_S):
            while (found := await asyncio.to_thread(self.listeners)) != wanted:
                if any(state not in ("active", "warming") for state in found.values()):
                    pytest.fail(f"{found}\n{self.log.read_text()[-3000:]}")
                await asyncio.sleep(0.05)

    def listeners(self) -> dict[str, str]:
        """Listener -> state: active, warming or the error."""
        shown = json.loads(self.admin("/config_dump?resource=dynamic_listeners"))
        return {
            entry["name"]: "active"
            if "active_state" in entry and "warming_state" not in entry
            else entry.get("error_state", {}).get("details", "warming")
            for entry in shown.get("configs", [])
            if "draining_state" not in entry or "active_state" in entry
        }


@contextlib.asynccontextmanager
async def control_plane() -> AsyncIterator[tuple[ControlPlane, int]]:
    """ADS and SDS on a free port, in plaintext."""
    control = ControlPlane()
    server = grpc.aio.server()
    ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(control, server)
    secrets = Secrets(*self_signed(uri="spiffe://ripstop.local/ns/default/sa/reviews"))
    sds_pb2_grpc.add_SecretDiscoveryServiceServicer_to_server(secrets, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield control, port
    finally:
        await server.stop(None)


@contextlib.asynccontextmanager
async def envoy_peer(directory: Path) -> AsyncIterator[EnvoyPeer]:
    """Start Envoy; it is stopped at the end."""

    def command(config: Path, log: Path) -> list[str]:
        words = ["--disable-hot-restart", "--concurrency", "1", "--log-path", str(log)]
        return [str(BINARY), "-c", str(config), *words]

    async with _peer(directory, command) as started:
        yield started


@contextlib.asynccontextmanager
async def native_peer(directory: Path) -> AsyncIterator[EnvoyPeer]:
    """Start the native data plane with the same bootstrap; it is stopped at the end."""

    def command(config: Path, _: Path) -> list[str]:
        serialized = config.with_suffix(".pb")
        serialized.write_bytes(read_bootstrap(config))
        return proxy_command(serialized, concurrency=1)

    async with _peer(directory, command) as started:
        yield started


@contextlib.asynccontextmanager
async def _peer(directory: Path, command: Callable[[Path, Path], list[str]]) -> AsyncIterator[EnvoyPeer]:
    async with control_plane() as (control, port):
        admin_port = free_port()
        config, log = directory / "bootstrap.json", directory / "peer.log"
        config.write_text(json.dumps(_bootstrap(port, admin_port)))
        with (directory / "output").open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command(config, log), stdout=output, stderr=asyncio.subprocess.STDOUT
            )
        try:
            yield EnvoyPeer(control, admin_port, log)
            assert process.returncode is None, f"it died:\n{log.read_text()[-4000:]}"
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


def _bootstrap(ads_port: int, admin_port: int) -> dict[str, Any]:
    clusters = [_static(name, ads_port) for name in ("ads", names.AGENT_SDS)]
    ads = {
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "ads"}}],
    }
    source = {"ads": {}, "resource_api_version": "V3"}
    return {
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": _address(admin_port)},
        "static_resources": {"clusters": clusters},
        "dynamic_resources": {"ads_config": ads, "cds_config": source, "lds_config": source},
    }


def _static(name: str, port: int) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(port)}}
    options = {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    return {
        "name": name,
        "type": "STATIC",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options
        },
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
