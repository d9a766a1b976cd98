"""Envoy's bootstrap for a hop and for both ends of the mesh path, with the mesh's features on: statistics, RBAC, outlier
detection, retries, breakers, access log. The native data plane is given the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benches.hop.certificates import CALLEE, CALLEE_NAME, CALLER
from benches.hop.path import Hop, MeshPath
from ripstop.compiler.access_log import http_logs
from ripstop.xds import pb

_TYPE = "type.googleapis.com/"
_EXT = _TYPE + "envoy.extensions."
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
SHORT_LINE = {
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(:PATH)%",
    "code": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "duration": "%DURATION%",
    "upstream": "%UPSTREAM_HOST%",
}
LIMIT = 10_000

Json = dict[str, Any]


def hop(path: Hop, *, has_full_logs: bool) -> list[Path]:
    """The bootstrap of the only proxy."""
    front = _listener("hop", path.listen, _logs("outbound", has_full_logs))
    return [_write(path.directory / "hop.pb", front, _cluster(path.upstream))]


def mesh(path: MeshPath, *, has_full_logs: bool) -> list[Path]:
    """The bootstraps of the caller's sidecar and the callee's."""
    caller = _cluster(path.middle)
    caller["transport_socket"] = _socket("Upstream", path, CALLER, {"sni": CALLEE_NAME})
    if path.alpn == "h2":
        options = {"http2_protocol_options": {"max_concurrent_streams": 100}}
        caller["typed_extension_protocol_options"] = {
            _HTTP_OPTIONS: {"@type": _TYPE + _HTTP_OPTIONS, "explicit_http_config": options}
        }
    out = _listener("out", path.listen, _logs("outbound", has_full_logs))
    into = _listener("in", path.middle, _logs("inbound", has_full_logs))
    into["filter_chains"][0]["transport_socket"] = _socket(
        "Downstream", path, CALLEE, {"require_client_certificate": True}
    )
    return [
        _write(path.directory / "caller.pb", out, caller),
        _write(path.directory / "callee.pb", into, _cluster(path.upstream)),
    ]


def _write(path: Path, listener: Json, cluster: Json) -> Path:
    made = pb.from_dict(
        pb.Bootstrap,
        {
            "node": {"id": "bench", "cluster": "bench"},
            "static_resources": {"listeners": [listener], "clusters": [cluster]},
        },
    )
    path.write_bytes(pb.to_bytes(made))
    return path


def _logs(direction: str, is_full: bool) -> list[Json]:
    """A JSON line of six values; or what the mesh has: twenty values and counters by caller and callee."""
    if is_full:
        return [pb.to_dict(log) for log in http_logs(direction, is_logged=True)]
    config = {
        "@type": _EXT + "access_loggers.file.v3.FileAccessLog",
        "path": "/dev/stdout",
        "log_format": {"json_format": SHORT_LINE},
    }
    return [{"name": "envoy.access_loggers.file", "typed_config": config}]


def _listener(name: str, port: int, logs: list[Json]) -> Json:
    manager = {
        "@type": _EXT + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "access_log": logs,
        "route_config": {"name": name, "virtual_hosts": [_virtual_host()]},
        "http_filters": [_rbac(), _filter("http.router", "http.router.v3.Router", {})],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {"name": name, "address": _address(port), "filter_chains": [{"filters": filters}]}


def _virtual_host() -> Json:
    retry = {"retry_on": "connect-failure,refused-stream,reset-before-request", "num_retries": 2}
    route = {"cluster": "upstream", "timeout": "15s", "retry_policy": retry}
    return {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}


def _rbac() -> Json:
    """One rule that lets all pass."""
    everyone = {"permissions": [{"any": True}], "principals": [{"any": True}]}
    rules = {"action": "ALLOW", "policies": {"everyone": everyone}}
    return _filter("http.rbac", "http.rbac.v3.RBAC", {"rules": rules})


def _filter(name: str, kind: str, config: Json) -> Json:
    return {"name": f"envoy.filters.{name}", "typed_config": {"@type": f"{_EXT}filters.{kind}", **config}}


def _cluster(port: int) -> Json:
    limits = {"max_connections": LIMIT, "max_pending_requests": LIMIT, "max_requests": LIMIT}
    endpoint = {"endpoint": {"address": _address(port)}}
    return {
        "name": "upstream",
        "type": "STATIC",
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {"thresholds": [limits]},
        "outlier_detection": {"consecutive_5xx": 5, "base_ejection_time": "30s"},
        "load_assignment": {"cluster_name": "upstream", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _socket(side: str, path: MeshPath, who: str, more: Json) -> Json:
    files = path.certificates
    pair = {
        "certificate_chain": {"filename": files.file(who, "pem")},
        "private_key": {"filename": files.file(who, "key")},
    }
    common = {
        "alpn_protocols": [path.alpn],
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificates": [pair],
        "validation_context": {"trusted_ca": {"filename": files.authority}},
    }
    kind = f"{_EXT}transport_sockets.tls.v3.{side}TlsContext"
    config = {"@type": kind, "common_tls_context": common, **more}
    return {"name": "envoy.transport_sockets.tls", "typed_config": config}


def _address(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
