"""SDS: hands the sidecar its key, certificate and trust bundle on a unix socket in a directory of our own (0700).

Source: `envoy.service.secret.v3.SecretDiscoveryService` over gRPC (its HTTP/2 protocol: "gRPC over HTTP2"). Nothing else
is served, whatever is asked for. gRPC's own library would cost more than all else in the agent: HTTP/2 is done by `h2`.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import H2Error

from ripstop.proxy.sds_messages import certificate_secret, names_asked_for, response, validation_secret
from ripstop.xds import names

PATH = b"/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets"
OK, UNIMPLEMENTED = b"0", b"12"
"""gRPC's status codes."""
REQUEST_BYTES_MAX = 64 * 1024
_READ_BYTES = 64 * 1024
_HEAD = [(b":status", b"200"), (b"content-type", b"application/grpc")]


@dataclass(frozen=True, slots=True)
class Svid:
    """A key with its certificate chain, and whom to trust (PEM). `expires_at` is wall seconds."""

    key_pem: bytes = field(repr=False)
    certificate_pem: bytes = b""
    trust_pem: bytes = b""
    expires_at: float = 0.0


def secrets_of(svid: Svid) -> dict[str, bytes]:
    """The `Secret` messages by name."""
    return {
        names.SVID: certificate_secret(names.SVID, svid.certificate_pem, svid.key_pem),
        names.TRUST: validation_secret(names.TRUST, svid.trust_pem),
    }


class SecretServer:
    """Serves one SVID, and its successors."""

    def __init__(self, socket: Path, svid: Svid) -> None:
        self._socket = socket
        self._version = 1
        self._secrets = secrets_of(svid)
        self._conversations: set[_Conversation] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.get_running_loop().create_unix_server(self._conversation, self._socket)
        self._socket.chmod(0o600)

    async def stop(self) -> None:
        """Close."""
        if self._server is not None:
            self._server.close()
        for conversation in list(self._conversations):
            conversation.close()

    def renew(self, svid: Svid) -> None:
        """Hand out `svid` from now on."""
        self._version += 1
        self._secrets = secrets_of(svid)
        for conversation in list(self._conversations):
            conversation.tell()

    def _conversation(self) -> _Conversation:
        return _Conversation(self)

    # --- what conversations need ---

    @property
    def version(self) -> int:
        """Of the secrets; one more with each renewal."""
        return self._version

    def answer(self, wanted: set[str]) -> bytes:
        """The response with what is wanted of our secrets; empty when that is nothing."""
        found = [self._secrets[name] for name in sorted(wanted) if name in self._secrets]
        return response(str(self._version), found) if found else b""

    def opened(self, conversation: _Conversation) -> None:
        """A data plane is there."""
        self._conversations.add(conversation)

    def closed(self, conversation: _Conversation) -> None:
        """It is gone."""
        self._conversations.discard(conversation)


@dataclass(slots=True)
class _Stream:
    """One subscription: what came and is not read yet, what waits for room, and what was told."""

    received: bytearray = field(default_factory=bytearray)
    waiting: bytearray = field(default_factory=bytearray)
    wanted: set[str] = field(default_factory=set)
    version: int = 0


class _Conversation(asyncio.Protocol):
    """One connection of a data plane."""

    def __init__(self, server: SecretServer) -> None:
        self._server = server
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self._streams: dict[int, _Stream] = {}
        self._transport: asyncio.Transport | None = None

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.opened(self)
        self._h2.initiate_connection()
        self._flush()

    def data_received(self, data: bytes) -> None:
        try:
            for event in self._h2.receive_data(data):
                self._take(event)
        except (H2Error, ValueError):
            self.close()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.closed(self)
        self._streams.clear()

    # --- what happens ---

    def _take(self, event: Event) -> None:
        match event:
            case RequestReceived(stream_id=int(stream), headers=headers):
                self._open(stream, dict(headers or ()))
            case DataReceived(stream_id=int(stream), data=bytes(data), flow_controlled_length=int(size)):
                self._h2.acknowledge_received_data(size, stream)
                self._read(stream, data)
            case WindowUpdated():
                for stream in list(self._streams):
                    self._send(stream)
            case StreamEnded(stream_id=int(stream)) if stream in self._streams:
                del self._streams[stream]
                self._h2.send_headers(stream, [(b"grpc-status", OK)], end_stream=True)
            case StreamReset(stream_id=int(stream)):
                self._streams.pop(stream, None)
            case ConnectionTerminated():
                self.close()
            case _:
                pass

    def _open(self, stream: int, head: dict[bytes, bytes]) -> None:
        if head.get(b":path") != PATH:
            self._h2.send_headers(stream, [*_HEAD, (b"grpc-status", UNIMPLEMENTED)], end_stream=True)
            return
        self._streams[stream] = _Stream()
        self._h2.send_headers(stream, _HEAD)

    def _read(self, number: int, data: bytes) -> None:
        """Take requests: a byte that is 0 (not compressed), four of length, the message."""
        stream = self._streams.get(number)
        if stream is None:
            return
        stream.received += data
        while len(stream.received) >= 5:
            size = int.from_bytes(stream.received[1:5])
            if stream.received[0] or size > REQUEST_BYTES_MAX:
                del self._streams[number]
                self._h2.reset_stream(number, ErrorCodes.PROTOCOL_ERROR)
                return
            if len(stream.received) < 5 + size:
                return
            asked = names_asked_for(bytes(stream.received[5 : 5 + size]))
            del stream.received[: 5 + size]
            if not stream.wanted.issuperset(asked):  # anything else is an answer to what was told
                stream.wanted.update(asked)
                self._answer(number, stream)

    # --- what is told ---

    def tell(self) -> None:
        """Tell every subscription what is new."""
        for number, stream in list(self._streams.items()):
            if stream.version < self._server.version:
                self._answer(number, stream)
        self._flush()

    def _answer(self, number: int, stream: _Stream) -> None:
        message = self._server.answer(stream.wanted)
        if message:
            stream.version = self._server.version
            stream.waiting += b"\0" + len(message).to_bytes(4) + message
            self._send(number)

    def _send(self, number: int) -> None:
        """As much as the peer has room for."""
        stream = self._streams[number]
        while stream.waiting:
            room = min(self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size)
            if room <= 0:
                return
            self._h2.send_data(number, bytes(stream.waiting[:room]))
            del stream.waiting[:room]

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """Say what is left to say, and close."""
        with contextlib.suppress(H2Error):
            self._h2.close_connection()
        self._flush()
        if self._transport is not None:
            self._transport.close()
