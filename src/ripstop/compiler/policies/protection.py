"""What keeps a failing or overloaded upstream from hurting callers: breakers, outlier detection, active checks."""

from __future__ import annotations

from ripstop.compiler.extension import uint32
from ripstop.model.policy import EffectivePolicy, HealthCheck, OutlierDetection
from ripstop.xds import pb


def circuit_breakers(policy: EffectivePolicy) -> pb.Message:
    """`Cluster.circuit_breakers`: limits for this proxy, retries as a share of requests in flight."""
    limits, budget = policy.limits, policy.budget
    threshold = pb.CircuitBreakers.Thresholds(
        max_connections=uint32(limits.max_connections),
        max_pending_requests=uint32(limits.max_pending_requests),
        max_requests=uint32(limits.max_requests),
        retry_budget={
            "budget_percent": pb.Percent(value=budget.percent),
            "min_retry_concurrency": uint32(budget.min_concurrency),
        },
        track_remaining=True,
    )
    return pb.CircuitBreakers(thresholds=[threshold])


def outlier_detection(outlier: OutlierDetection | None) -> pb.Message | None:
    """`Cluster.outlier_detection`: detectors that are None are not enforced (Envoy has some on by default)."""
    if outlier is None:
        return None
    detection = pb.OutlierDetection(
        interval=pb.duration(outlier.interval_s),
        base_ejection_time=pb.duration(outlier.base_ejection_s),
        max_ejection_time=pb.duration(max(outlier.base_ejection_s, outlier.max_ejection_s)),
        max_ejection_percent=uint32(outlier.max_ejection_percent),
        always_eject_one_host=pb.BoolValue(value=False),
    )
    _consecutive(detection, outlier)
    _success_rate(detection, outlier)
    _failure_percentage(detection, outlier)
    return detection


def _consecutive(detection: pb.Message, outlier: OutlierDetection) -> None:
    """The detectors that count failures in a row."""
    _set(detection, "consecutive_5xx", "enforcing_consecutive_5xx", outlier.consecutive_failures)
    gateway = outlier.consecutive_gateway_failures
    _set(detection, "consecutive_gateway_failure", "enforcing_consecutive_gateway_failure", gateway)
    local = outlier.consecutive_local_origin_failures
    # Split, or failures to connect would count as 5xx too and this detector would never be asked.
    detection.split_external_local_origin_errors = local is not None
    _set(detection, "consecutive_local_origin_failure", "enforcing_consecutive_local_origin_failure", local)


def _set(detection: pb.Message, field: str, enforcing: str, value: int | None) -> None:
    getattr(detection, enforcing).value = 0 if value is None else 100
    if value is not None:
        getattr(detection, field).value = value


def _success_rate(detection: pb.Message, outlier: OutlierDetection) -> None:
    """Endpoints whose success rate is far below the mean; `stdev_factor` is in thousandths."""
    factor = outlier.success_rate_stdev_factor
    detection.enforcing_success_rate.value = 0 if factor is None else 100
    detection.enforcing_local_origin_success_rate.value = 0
    if factor is not None:
        detection.success_rate_stdev_factor.value = round(factor * 1000)
        detection.success_rate_minimum_hosts.value = outlier.success_rate_min_hosts
        detection.success_rate_request_volume.value = outlier.success_rate_request_volume


def _failure_percentage(detection: pb.Message, outlier: OutlierDetection) -> None:
    threshold = outlier.failure_percentage_threshold
    detection.enforcing_failure_percentage.value = 0 if threshold is None else 100
    if threshold is not None:
        detection.failure_percentage_threshold.value = threshold
        detection.failure_percentage_minimum_hosts.value = outlier.failure_percentage_min_hosts
        detection.failure_percentage_request_volume.value = outlier.failure_percentage_request_volume


def health_checks(policy: EffectivePolicy, *, is_http2: bool, is_meshed: bool) -> list[pb.Message]:
    """`Cluster.health_checks`: an endpoint is healthy when all of them say so."""
    made = [_health_check(check, is_http2=is_http2, is_meshed=is_meshed) for check in policy.health_checks]
    if len(made) > 1:
        for index, check in enumerate(policy.health_checks):
            _give_name(made[index], f"{index}-{check.kind}")
    return made


_NAME_TAG = b"\xda\x01"
"""Field 27, length-delimited (Protocol Buffers, "Encoding")."""


def _give_name(made: pb.Message, name: str) -> None:
    """`HealthCheck.name`, which Envoy 1.40 demands of each when there are several.

    It is field 27 in Envoy's own API; xds-protos 1.85 does not know it yet, so it is written as bytes.
    """
    made.MergeFromString(_NAME_TAG + bytes([len(name)]) + name.encode())


def _health_check(check: HealthCheck, *, is_http2: bool, is_meshed: bool) -> pb.Message:
    made = pb.HealthCheck(
        interval=pb.duration(check.interval_s),
        timeout=pb.duration(check.timeout_s),
        unhealthy_threshold=uint32(check.unhealthy_threshold),
        healthy_threshold=uint32(check.healthy_threshold),
    )
    match check.kind:
        case "http":
            made.http_health_check.CopyFrom(_http_check(check, is_http2, is_meshed))
        case "grpc":
            made.grpc_health_check.service_name = check.grpc_service
        case _:
            made.tcp_health_check.SetInParent()
    return made


def _http_check(check: HealthCheck, is_http2: bool, is_meshed: bool) -> pb.Message:
    """`HttpHealthCheck`. In the mesh a 403 passes: a caller that may not call sees 403, not "no healthy upstream"."""
    codes = {*check.expected_codes, *((403,) if is_meshed else ())}
    return pb.HealthCheck.HttpHealthCheck(
        path=check.path,
        host=check.host,
        expected_statuses=[pb.Int64Range(start=code, end=code + 1) for code in sorted(codes)],
        codec_client_type=pb.CodecClientType.HTTP2 if is_http2 else pb.CodecClientType.HTTP1,
    )
