"""What a proxy writes about each request: one JSON line, and counters by caller and destination.

Operators: Envoy's "Access logging", command operators. A value that is not there is left out of the line.
"""

from __future__ import annotations

from functools import lru_cache

from ripstop.xds import pb

PATH = "/dev/stdout"
"""The agent reads Envoy's output and passes lines on."""

_HTTP: dict[str, str] = {
    "time": "%START_TIME%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "authority": "%REQ(:AUTHORITY)%",
    "protocol": "%PROTOCOL%",
    "status": "%RESPONSE_CODE%",
    "grpc_status": "%GRPC_STATUS_NUMBER%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "duration_ms": "%DURATION%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "upstream": "%UPSTREAM_HOST%",
    "cluster": "%UPSTREAM_CLUSTER_RAW%",
    "route": "%ROUTE_NAME%",
    "rule": "%METADATA(ROUTE:ripstop:source)%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "trace": "%REQ(TRACEPARENT)%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
}
_TCP_FIELDS = ("time", "flags", "failure", "duration_ms", "upstream", "cluster", "bytes_in", "bytes_out")
_RBAC = "%DYNAMIC_METADATA(envoy.filters.http.rbac:{})%"
_INBOUND: dict[str, str] = {
    "source": "%DOWNSTREAM_PEER_URI_SAN%",
    "destination": "%DOWNSTREAM_LOCAL_URI_SAN%",
    "policy": _RBAC.format("enforced_effective_policy_id"),
    "audit_deny": _RBAC.format("audit_deny_shadow_effective_policy_id"),
    "audit_allow": _RBAC.format("audit_allow_shadow_engine_result"),
}
_INBOUND_TCP: dict[str, str] = {
    "source": "%DOWNSTREAM_PEER_URI_SAN%",
    "destination": "%DOWNSTREAM_LOCAL_URI_SAN%",
    "details": "%CONNECTION_TERMINATION_DETAILS%",
}
_EGRESS = _INBOUND | {"service": "%METADATA(ROUTE:ripstop:service)%"}
_OUTBOUND: dict[str, str] = {
    "source": "%UPSTREAM_LOCAL_URI_SAN%",
    "destination": "%UPSTREAM_PEER_URI_SAN%",
    "service": "%METADATA(ROUTE:ripstop:service)%",
}


@lru_cache(maxsize=64)
def http_logs(direction: str, *, is_logged: bool) -> tuple[pb.Message, ...]:
    """The `access_log` of an HCM; `direction` is inbound, outbound, gateway or egress."""
    ends = {"inbound": _INBOUND, "egress": _EGRESS}.get(direction, _OUTBOUND)
    line = {"direction": direction, **_HTTP, **ends}
    return (*((_file(line),) if is_logged else ()), _statistics(direction))


@lru_cache(maxsize=64)
def tcp_logs(direction: str, service: str, *, is_logged: bool) -> tuple[pb.Message, ...]:
    """The `access_log` of a TCP proxy."""
    fields = {name: _HTTP[name] for name in _TCP_FIELDS}
    ends = _INBOUND_TCP if direction == "inbound" else {**_OUTBOUND, "service": service}
    return (_file({"direction": direction, "protocol": "tcp", **fields, **ends}),) if is_logged else ()


def _file(line: dict[str, str]) -> pb.Message:
    """A JSON line per request (`FileAccessLog.log_format.json_format`)."""
    form = pb.SubstitutionFormatString(omit_empty_values=True)
    form.json_format.update(line)
    config = pb.FileAccessLog(path=PATH, log_format=form)
    return pb.AccessLog(name="envoy.access_loggers.file", typed_config=pb.pack(config))


def _statistics(direction: str) -> pb.Message:
    """`mesh.requests` and `mesh.duration_ms` (`access_loggers.stats`), tagged with who called whom."""
    is_asked_by_peer = direction in ("inbound", "egress")
    source = "%DOWNSTREAM_PEER_URI_SAN%" if is_asked_by_peer else "-"
    destination = (
        "%DOWNSTREAM_LOCAL_URI_SAN%" if direction == "inbound" else "%METADATA(ROUTE:ripstop:service)%"
    )
    ends = {"direction": direction, "source": source, "destination": destination}
    outcome = {"code": "%RESPONSE_CODE%", "flags": "%RESPONSE_FLAGS%"}
    count = {"stat": _stat("requests", ends | outcome), "value_fixed": pb.UInt64Value(value=1)}
    duration = {"stat": _stat("duration_ms", ends), "value_format": "%DURATION%", "unit": _milliseconds()}
    config = pb.StatsAccessLog(stat_prefix="mesh", counters=[count], histograms=[duration])
    return pb.AccessLog(name="envoy.access_loggers.stats", typed_config=pb.pack(config))


def _stat(name: str, tags: dict[str, str]) -> pb.Message:
    pairs = [{"name": key, "value_format": value} for key, value in tags.items()]
    return pb.StatsAccessLog.Stat(name=name, tags=pairs)


def _milliseconds() -> int:
    unit: int = pb.StatsAccessLog.Histogram.Unit.Milliseconds
    return unit
