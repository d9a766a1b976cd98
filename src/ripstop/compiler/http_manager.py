"""HttpConnectionManager: what the outbound, inbound, upstream and gateway listeners have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ripstop.compiler.access_log import http_logs
from ripstop.compiler.extension import ROUTER, http_filter, network_filter
from ripstop.compiler.transport import ads
from ripstop.xds import pb

HCM = "envoy.filters.network.http_connection_manager"
CORS = "envoy.filters.http.cors"
FAULT = "envoy.filters.http.fault"
SESSION = "envoy.filters.http.stateful_session"
NOT_SENT = "x-ripstop-not-sent"
POLICY = "x-ripstop-policy"
EDGE_STREAMS = 100
"""HTTP/2 streams at a time on one connection from outside the mesh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manager:
    """What differs between the connection managers. `routes` is set by one of `by_rds` and `by_scopes`."""

    direction: str
    filters: tuple[pb.Message, ...] = ()
    local_replies: tuple[pb.Message, ...] = ()
    accepts_connect: bool = False
    is_edge: bool = False
    """At the edge of the mesh the peer's address is what counts, and its x-forwarded-* are not believed."""
    is_logged: bool = True


def by_rds(manager: Manager, routes: str) -> pb.Message:
    """A network filter: a connection manager with one RouteConfiguration."""
    made = _manager(manager)
    made.rds.CopyFrom(pb.Rds(config_source=ads(), route_config_name=routes))
    return network_filter(HCM, made)


def by_scopes(manager: Manager) -> pb.Message:
    """A connection manager that finds the RouteConfiguration by the host asked for (`scoped_routes`).

    The key is `:authority` up to its colon, so each service's routes are a resource of their own: a node is sent what it
    uses, and one service's change touches no other's.
    """
    made = _manager(manager)
    extractor = {"name": ":authority", "element_separator": ":", "index": 0}
    made.scoped_routes.CopyFrom(
        pb.ScopedRoutes(
            name="hosts",
            scope_key_builder={"fragments": [{"header_value_extractor": extractor}]},
            rds_config_source=ads(),
            scoped_rds={"scoped_rds_config_source": ads()},
        )
    )
    return network_filter(HCM, made)


def _manager(manager: Manager) -> pb.Message:
    made = pb.HttpConnectionManager(
        stat_prefix=manager.direction,
        http_filters=[*manager.filters, _router()],
        access_log=http_logs(manager.direction, is_logged=manager.is_logged),
        local_reply_config={"mappers": manager.local_replies} if manager.local_replies else None,
        upgrade_configs=[{"upgrade_type": kind} for kind in _upgrades(manager)],
        http2_protocol_options={"allow_connect": True},
        stream_idle_timeout=pb.duration(0),
        request_headers_timeout=pb.duration(30),
        server_header_transformation=pb.HttpConnectionManager.PASS_THROUGH,
        normalize_path=pb.BoolValue(value=True),
        preserve_external_request_id=True,
        # Who is told of an error can ask about it: `ripstop explain ID`.
        always_set_request_id_in_response=manager.direction != "inbound",
        proxy_status_config=_proxy_status(manager),
        # An invalid message resets its own stream, not the shared HTTP/2 connection of all callers.
        stream_error_on_invalid_http_message=pb.BoolValue(value=True),
    )
    _addresses(made, manager)
    return made


def _proxy_status(manager: Manager) -> pb.Message:
    """What went wrong, and at which proxy (RFC 9209); strangers are not told details."""
    return pb.HttpConnectionManager.ProxyStatusConfig(
        literal_proxy_name=f"ripstop-{manager.direction}", remove_details=manager.is_edge
    )


def _upgrades(manager: Manager) -> tuple[str, ...]:
    return ("websocket", "CONNECT") if manager.accepts_connect else ("websocket",)


def _addresses(made: pb.Message, manager: Manager) -> None:
    """Whom x-forwarded-for and the client certificate header are believed from."""
    made.use_remote_address.value = manager.is_edge
    made.skip_xff_append = not manager.is_edge
    if manager.is_edge:
        _limit_clients(made)
    if manager.direction == "inbound":
        made.forward_client_cert_details = pb.HttpConnectionManager.SANITIZE_SET
        made.set_current_client_cert_details.uri = True


def _limit_clients(made: pb.Message) -> None:
    """What one connection of a stranger may take (Envoy, "Configuring Envoy as an edge proxy")."""
    options = made.http2_protocol_options
    options.max_concurrent_streams.value = EDGE_STREAMS
    options.initial_stream_window_size.value = 64 * 1024
    options.initial_connection_window_size.value = 1024 * 1024


def _router() -> pb.Message:
    """The last filter. Envoy's own x-envoy-* headers stay out of applications' sight."""
    return http_filter(ROUTER, pb.Router(suppress_envoy_headers=True))


def calling_filters() -> tuple[pb.Message, ...]:
    """The filters of whoever calls; routes give each its configuration."""
    return (
        http_filter(CORS, pb.Cors()),
        http_filter(FAULT, pb.HttpFault()),
        http_filter(SESSION, pb.StatefulSession()),
    )


def local_reply(
    *,
    flags: Sequence[str] = (),
    status: int = 0,
    metadata: tuple[str, str, str] = ("", "", ""),
    text: str = "",
    add: Sequence[tuple[str, str]] = (),
    new_status: int = 0,
) -> pb.Message:
    """A `ResponseMapper`: answers of this proxy itself say `text` and carry `add`.

    Which answers: those with any of `flags`, or with `status`, or whose dynamic `metadata` (filter, key) is a value.
    """
    made = pb.ResponseMapper(filter=_reply_filter(flags, status, metadata))
    if text:
        made.body_format_override.text_format_source.inline_string = text + "\n"
    if new_status:
        made.status_code.value = new_status
    made.headers_to_add.extend(
        pb.HeaderValueOption(
            header=pb.HeaderValue(key=key, value=value),
            append_action=pb.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
        )
        for key, value in add
    )
    return made


def _reply_filter(flags: Sequence[str], status: int, metadata: tuple[str, str, str]) -> pb.Message:
    if metadata[0]:
        value = pb.ValueMatcher(string_match={"exact": metadata[2]})
        matcher = pb.MetadataMatcher(filter=metadata[0], path=[{"key": metadata[1]}], value=value)
        found = pb.MetadataFilter(matcher=matcher, match_if_key_not_found=pb.BoolValue(value=False))
        return pb.AccessLogFilter(metadata_filter=found)
    if flags:
        return pb.AccessLogFilter(response_flag_filter={"flags": flags})
    value = {"default_value": status, "runtime_key": "ripstop.local_reply"}
    return pb.AccessLogFilter(status_code_filter={"comparison": {"op": "EQ", "value": value}})
