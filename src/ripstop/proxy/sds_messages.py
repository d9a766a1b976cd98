"""The few messages of SDS, written and read by hand: an agent that loads protobuf's classes for them costs twice as much.

Source: `DiscoveryRequest` and `DiscoveryResponse` of `envoy.service.discovery.v3`, `Secret` of
`envoy.extensions.transport_sockets.tls.v3`, and the wire format of Protocol Buffers (tag, length, content): all fields
that are written here are of wire type 2.
"""

from __future__ import annotations

from collections.abc import Iterator

from ripstop.xds import type_urls

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_RESOURCE_NAMES = 3
_VERSION_INFO, _RESOURCES, _TYPE_URL, _NONCE = 1, 2, 4, 5


def names_asked_for(request: bytes) -> list[str]:
    """`DiscoveryRequest.resource_names`.

    Raises:
        ValueError: these bytes are no message.
    """
    return [content.decode() for number, content in _fields(request) if number == _RESOURCE_NAMES]


def response(version: str, secrets: list[bytes]) -> bytes:
    """A `DiscoveryResponse` with `Secret` messages; its nonce is the version."""
    url = _field(1, type_urls.SECRET.encode())
    packed = b"".join(_field(_RESOURCES, url + _field(2, secret)) for secret in secrets)
    word = version.encode()
    kind = _field(_TYPE_URL, type_urls.SECRET.encode())
    return _field(_VERSION_INFO, word) + packed + kind + _field(_NONCE, word)


def certificate_secret(name: str, chain_pem: bytes, key_pem: bytes) -> bytes:
    """A `Secret` with a `TlsCertificate`."""
    certificate = _field(1, _inline(chain_pem)) + _field(2, _inline(key_pem))
    return _field(1, name.encode()) + _field(2, certificate)


def validation_secret(name: str, trust_pem: bytes) -> bytes:
    """A `Secret` with a `CertificateValidationContext`."""
    return _field(1, name.encode()) + _field(4, _field(1, _inline(trust_pem)))


def _inline(content: bytes) -> bytes:
    """`DataSource.inline_bytes`."""
    return _field(2, content)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The number and content of every field with a length; others are passed over."""
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            _, at = _read_varint(message, at)
        elif kind == _LENGTH:
            size, at = _read_varint(message, at)
            yield tag >> 3, message[at : at + size]
            at += size
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError("a group, or no message at all")
    if at != len(message):
        raise ValueError("the message is cut short")


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(message):
            break
        octet = message[at]
        at += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value, at
    raise ValueError("the message is cut short")
