"""SDS: hands the sidecar its key, certificate and trust bundle on a unix socket in a directory of our own (0700).

Source: `envoy.service.secret.v3.SecretDiscoveryService`. Nothing else is served, whatever is asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from ripstop.xds import names, pb, type_urls

SERVICE = "envoy.service.secret.v3.SecretDiscoveryService"


@dataclass(frozen=True, slots=True)
class Svid:
    """A key with its certificate chain, and whom to trust (PEM). `expires_at` is wall seconds."""

    key_pem: bytes = field(repr=False)
    certificate_pem: bytes = b""
    trust_pem: bytes = b""
    expires_at: float = 0.0


def secrets_of(svid: Svid) -> dict[str, Any]:
    """The `Secret` messages by name."""
    certificate = pb.TlsCertificate(
        certificate_chain={"inline_bytes": svid.certificate_pem}, private_key={"inline_bytes": svid.key_pem}
    )
    validation = pb.CertificateValidationContext(trusted_ca={"inline_bytes": svid.trust_pem})
    return {
        names.SVID: pb.Secret(name=names.SVID, tls_certificate=certificate),
        names.TRUST: pb.Secret(name=names.TRUST, validation_context=validation),
    }


class SecretServer:
    """Serves one SVID, and its successors."""

    def __init__(self, socket: Path, svid: Svid) -> None:
        self._socket, self._svid, self._version = socket, svid, 1
        self._changed = asyncio.Condition()
        self._server: Any = None

    async def start(self) -> None:
        """Listen."""
        self._server = grpc.aio.server()
        method = grpc.stream_stream_rpc_method_handler(
            self._stream,
            request_deserializer=pb.DiscoveryRequest.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        handler = grpc.method_handlers_generic_handler(SERVICE, {"StreamSecrets": method})
        self._server.add_generic_rpc_handlers((handler,))
        self._server.add_insecure_port(f"unix:{self._socket}")
        await self._server.start()
        self._socket.chmod(0o600)

    async def stop(self) -> None:
        """Close."""
        if self._server is not None:
            await self._server.stop(0)

    async def renew(self, svid: Svid) -> None:
        """Hand out `svid` from now on."""
        async with self._changed:
            self._svid, self._version = svid, self._version + 1
            self._changed.notify_all()

    async def _stream(self, requests: AsyncIterator[Any], context: Any) -> None:
        wanted: set[str] = set()
        sent = 0
        reader = asyncio.create_task(self._read(requests, wanted))
        try:
            while not reader.done():
                async with self._changed:
                    while not (reader.done() or (wanted and (self._version > sent or "" in wanted))):
                        await self._changed.wait()
                    version, svid = self._version, self._svid
                    wanted.discard("")
                known = secrets_of(svid)
                found = [known[name] for name in sorted(wanted) if name in known]
                if found:
                    await context.write(self._response(version, found))
                sent = version
        finally:
            reader.cancel()

    async def _read(self, requests: AsyncIterator[Any], wanted: set[str]) -> None:
        """Note what is asked for; an empty name marks a request that waits for its first answer."""
        try:
            async for request in requests:
                async with self._changed:
                    fresh = set(request.resource_names) - wanted
                    wanted.update(fresh | {""} if fresh else ())
                    self._changed.notify_all()
        finally:
            async with self._changed:
                self._changed.notify_all()

    def _response(self, version: int, secrets: list[Any]) -> Any:
        packed = [pb.any_of(type_urls.SECRET, pb.to_bytes(secret)) for secret in secrets]
        return pb.DiscoveryResponse(
            version_info=str(version), nonce=str(version), type_url=type_urls.SECRET, resources=packed
        )
