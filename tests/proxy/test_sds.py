"""SDS by hand, against gRPC's own library and protobuf's own classes."""

from __future__ import annotations

import asyncio
import contextlib
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ripstop.proxy.sds import SecretServer, Svid
from ripstop.proxy.sds_messages import names_asked_for, response
from ripstop.xds import pb, type_urls

METHOD = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets"
ANSWER_S = 20


def svid(number: int, size: int = 0) -> Svid:
    return Svid(b"key-%d" % number, b"chain-%d" % number + b"x" * size, b"trust-%d" % number, 1.0)


@dataclass
class Client:
    """A data plane: gRPC's own client."""

    call: Any
    told: list[Any] = field(default_factory=list)

    async def ask(self, *names: str, nonce: str = "") -> None:
        await self.call.write(pb.DiscoveryRequest(resource_names=names, response_nonce=nonce))

    async def secrets(self) -> dict[str, Any]:
        answer = await asyncio.wait_for(self.call.read(), ANSWER_S)
        assert answer.type_url == type_urls.SECRET
        self.told.append(answer)
        found = {}
        for packed in answer.resources:
            secret = pb.Secret()
            assert packed.Unpack(secret)
            found[secret.name] = secret
        return found


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "sds.sock"


@contextlib.asynccontextmanager
async def serving(socket: Path, first: Svid) -> AsyncIterator[SecretServer]:
    server = SecretServer(socket, first)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def client(socket: Path, method: str = METHOD) -> AsyncIterator[Client]:
    async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
        stub = channel.stream_stream(
            method,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=pb.DiscoveryResponse.FromString,
        )
        call = stub()
        yield Client(call)
        call.cancel()


async def test_both_secrets_are_told_and_told_anew_when_they_are_renewed(socket: Path) -> None:
    async with serving(socket, svid(1)) as server, client(socket) as one, client(socket) as other:
        await one.ask("svid")
        found = await one.secrets()
        assert found["svid"].tls_certificate.certificate_chain.inline_bytes == b"chain-1"
        assert found["svid"].tls_certificate.private_key.inline_bytes == b"key-1"
        await other.ask("trust")
        assert (await other.secrets())["trust"].validation_context.trusted_ca.inline_bytes == b"trust-1"
        server.renew(svid(2))
        assert (await one.secrets())["svid"].tls_certificate.private_key.inline_bytes == b"key-2"
        assert (await other.secrets())["trust"].validation_context.trusted_ca.inline_bytes == b"trust-2"
        assert one.told[0].version_info != one.told[1].version_info


async def test_an_acknowledgement_is_not_answered_and_another_name_is(socket: Path) -> None:
    async with serving(socket, svid(1)), client(socket) as one:
        await one.ask("svid")
        await one.secrets()
        await one.ask("svid", nonce=one.told[0].nonce)
        await one.ask("svid", "trust")
        assert set(await one.secrets()) == {"svid", "trust"}


async def test_a_name_that_is_none_of_ours_is_not_answered(socket: Path) -> None:
    async with serving(socket, svid(1)), client(socket) as one:
        await one.ask("/etc/shadow")
        await one.ask("/etc/shadow", "trust")
        assert set(await one.secrets()) == {"trust"}


async def test_another_method_is_not_implemented(socket: Path) -> None:
    async with serving(socket, svid(1)), client(socket, "/other.Service/Method") as one:
        assert await asyncio.wait_for(one.call.code(), ANSWER_S) is grpc.StatusCode.UNIMPLEMENTED


async def test_more_than_a_window_of_octets_arrives_in_order(socket: Path) -> None:
    async with serving(socket, svid(0)) as server, client(socket) as one:
        await one.ask("svid")
        await one.secrets()
        for number in range(1, 60):
            server.renew(svid(number, size=5000))
        for number in range(1, 60):
            chain = (await one.secrets())["svid"].tls_certificate.certificate_chain.inline_bytes
            assert chain.startswith(b"chain-%d" % number) and len(chain) > 5000


async def test_a_data_plane_that_does_not_speak_http2_is_hung_up_on(socket: Path) -> None:
    async with serving(socket, svid(1)), client(socket) as one:
        reader, writer = await asyncio.open_unix_connection(socket)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await asyncio.wait_for(reader.read(), ANSWER_S)
        writer.close()
        await one.ask("svid")
        assert set(await one.secrets()) == {"svid"}


async def test_the_socket_is_for_our_user_alone(socket: Path) -> None:
    async with serving(socket, svid(1)):
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600


@given(st.lists(st.text(max_size=200), max_size=5), st.text(max_size=300), st.integers(0, 1 << 30))
def test_names_are_read_as_protobuf_writes_them(names: list[str], node: str, code: int) -> None:
    request = pb.DiscoveryRequest(
        version_info="7", node={"id": node}, resource_names=names, error_detail={"code": code}
    )
    assert names_asked_for(request.SerializeToString()) == names


@given(st.binary(max_size=60))
def test_octets_that_are_no_message_are_refused(octets: bytes) -> None:
    with contextlib.suppress(ValueError):
        names_asked_for(octets)


@given(st.text(max_size=20), st.lists(st.binary(max_size=300), max_size=3))
def test_a_response_is_what_protobuf_reads(version: str, secrets: list[bytes]) -> None:
    read = pb.DiscoveryResponse.FromString(response(version, secrets))
    assert (read.version_info, read.nonce) == (version, version)
    assert [packed.value for packed in read.resources] == secrets
