"""Envoy extensions: a name, and a message packed as `typed_config`."""

from __future__ import annotations

from ripstop.xds import pb

ROUTER = "envoy.filters.http.router"


def http_filter(name: str, config: pb.Message) -> pb.Message:
    """An entry of `HttpConnectionManager.http_filters`."""
    return pb.HttpFilter(name=name, typed_config=pb.pack(config))


def network_filter(name: str, config: pb.Message) -> pb.Message:
    """An entry of `FilterChain.filters`."""
    return pb.Filter(name=name, typed_config=pb.pack(config))


def transport_socket(name: str, config: pb.Message) -> pb.Message:
    """A `core.v3.TransportSocket`."""
    return pb.TransportSocket(name=name, typed_config=pb.pack(config))


def typed(name: str, config: pb.Message) -> pb.Message:
    """A `core.v3.TypedExtensionConfig`."""
    return pb.TypedExtensionConfig(name=name, typed_config=pb.pack(config))


def uint32(value: int) -> pb.Message:
    """A `UInt32Value`."""
    return pb.UInt32Value(value=value)


def whole_percent(value: float) -> pb.Message:
    """A `FractionalPercent` exact to a ten-thousandth of a percent."""
    return pb.FractionalPercent(numerator=round(value * 10_000), denominator=pb.FractionalPercent.MILLION)


def always() -> pb.Message:
    """A `RuntimeFractionalPercent` of 100 % that no runtime key changes."""
    return pb.RuntimeFractionalPercent(default_value=pb.FractionalPercent(numerator=100))
