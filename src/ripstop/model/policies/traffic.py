"""TrafficPolicy: load balancing, breaker limits, outlier detection, retries, timeouts, health checks, affinity, fallback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from ripstop.model.field_types import (
    AbsolutePath,
    Count,
    Duration,
    ErrorStatus,
    HeaderName,
    HttpStatus,
    Percent,
    Port,
    PositiveDuration,
    ServiceName,
)
from ripstop.model.references import TargetRef
from ripstop.model.spec import Issue, Items, Spec


class HashKeySpec(Spec):
    """What is hashed; one of these."""

    header: HeaderName | None = None
    """A header."""
    cookie: HeaderName | None = None
    """A cookie, made when it is not there."""
    query_parameter: str | None = None
    """A query parameter."""
    source_ip: bool = False
    """The caller's address."""
    ttl: PositiveDuration | None = None
    """How long the cookie lives; for the session when left out."""
    terminal: bool = False
    """Whether later keys are left out once this one is there."""

    def issues(self) -> Iterator[Issue]:
        """Exactly one key."""
        if sum(bool(v) for v in (self.header, self.cookie, self.query_parameter, self.source_ip)) != 1:
            yield Issue((), "one key must be given", "write header, cookie, queryParameter or sourceIp: true")


class SlowStart(Spec):
    """Gives a new endpoint its share little by little."""

    window: PositiveDuration
    """How long it takes."""
    aggression: float = Field(default=1.0, gt=0)
    """1 grows evenly; more grows faster at first."""
    min_percent: Percent = 10.0
    """The share at the start."""


class LoadBalancerSpec(Spec):
    """How an endpoint is chosen."""

    algorithm: Literal["RoundRobin", "LeastRequest", "Random", "RingHash", "Maglev", "PeakEwma"] = "PeakEwma"
    """The algorithm. PeakEwma prefers who answers fastest; on Envoy it is LeastRequest."""
    choices: int = Field(default=2, ge=2, le=100)
    """LeastRequest: of how many the least busy is taken."""
    hash: Items[HashKeySpec] = ()
    """RingHash and Maglev: what is hashed, in order."""
    slow_start: SlowStart | None = None
    """Gives a new endpoint its share little by little."""
    panic_threshold: Percent = 50.0
    """When fewer percent are healthy, health is not looked at; 0 turns it off."""
    prefer_local: bool = True
    """Whether endpoints of the caller's own locality are preferred."""

    def issues(self) -> Iterator[Issue]:
        """Hashing needs a key, and only hashing has one."""
        if bool(self.hash) != (self.algorithm in ("RingHash", "Maglev")):
            yield Issue(("hash",), "hash goes with RingHash and Maglev", "give both or neither")


class LimitsSpec(Spec):
    """Breaker limits of each proxy towards the service."""

    max_connections: Count = 1024
    """Connections."""
    max_pending_requests: Count = 1024
    """Requests that wait for a connection."""
    max_requests: Count = 1024
    """Requests at a time."""
    max_requests_per_connection: Count | None = None
    """Requests after which a connection is closed."""


class OutlierSpec(Spec):
    """When a failing endpoint is set aside."""

    enabled: bool = True
    """Whether failing endpoints are set aside at all."""
    consecutive_failures: Count | None = 5
    """After so many failures (5xx, no answer) in a row."""
    consecutive_gateway_failures: Count | None = None
    """After so many 502, 503 and 504 in a row."""
    consecutive_local_origin_failures: Count | None = None
    """After so many failures to connect in a row."""
    interval: PositiveDuration = 1.0
    """How often it is looked at."""
    base_ejection: PositiveDuration = 30.0
    """How long it is set aside, times how often it happened."""
    max_ejection: PositiveDuration = 300.0
    """At most so long."""
    max_ejection_percent: int = Field(default=50, ge=0, le=100)
    """At most so many percent of the endpoints."""
    success_rate_stdev_factor: float | None = Field(default=None, gt=0)
    """Below the mean success rate by so many standard deviations."""
    failure_percentage_threshold: int | None = Field(default=None, ge=1, le=100)
    """Above so many percent of failures."""


class BackoffSpec(Spec):
    """The time between tries, with jitter."""

    base: PositiveDuration = 0.025
    """At least."""
    max: PositiveDuration = 0.25
    """At most."""

    def issues(self) -> Iterator[Issue]:
        """The least is not more than the most."""
        if self.max < self.base:
            yield Issue(("max",), "max is less than base", "raise it to base or more")


GrpcCode = Literal["cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"]


class RetrySpec(Spec):
    """When a request is tried again."""

    enabled: bool = True
    """Whether requests are tried again at all."""
    attempts: int = Field(default=1, ge=1, le=20)
    """Retries after the first try."""
    codes: Items[ErrorStatus] = ()
    """Statuses that are tried again, for idempotent methods."""
    grpc_codes: Items[GrpcCode] = ()
    """gRPC statuses that are tried again."""
    methods: Literal["Idempotent", "All"] = "Idempotent"
    """All lets POST and PATCH be tried again even when they may have had an effect."""
    on_timeout: bool = False
    """Whether a try that ran into backendRequest is tried again."""
    backoff: BackoffSpec = BackoffSpec()
    """The time between tries."""


class BudgetSpec(Spec):
    """Retries as a share of requests at a time."""

    percent: Percent = 20.0
    """At most so many percent."""
    min_concurrency: Count = 3
    """So many are always allowed."""


class TimeoutsSpec(Spec):
    """How long things may take; 0s means no limit."""

    connect: PositiveDuration = 1.0
    """A connection to an endpoint."""
    request: Duration = 15.0
    """The whole request, retries included."""
    backend_request: Duration = 0.0
    """One try."""
    idle: Duration = 300.0
    """A stream without data."""
    max_stream: Duration = 0.0
    """A stream in all."""


class HttpCheck(Spec):
    """A check by an HTTP request."""

    path: AbsolutePath = "/"
    """The path asked for."""
    host: str = ""
    """The Host sent."""
    expected_statuses: Items[HttpStatus] = (200,)
    """Statuses that mean healthy."""


class GrpcCheck(Spec):
    """A check by grpc.health.v1."""

    service: str = ""
    """The service asked about."""


class TcpCheck(Spec):
    """A check by a connection."""


class HealthCheckSpec(Spec):
    """An active check by each proxy."""

    http: HttpCheck | None = None
    """By an HTTP request."""
    grpc: GrpcCheck | None = None
    """By grpc.health.v1."""
    tcp: TcpCheck | None = None
    """By a connection."""
    interval: PositiveDuration = 5.0
    """How often."""
    timeout: PositiveDuration = 2.0
    """How long an answer may take."""
    unhealthy_threshold: Count = 3
    """Failures in a row that mean unhealthy."""
    healthy_threshold: Count = 2
    """Successes in a row that mean healthy again."""

    def issues(self) -> Iterator[Issue]:
        """Exactly one way."""
        if sum(check is not None for check in (self.http, self.grpc, self.tcp)) != 1:
            yield Issue((), "one way to check must be given", "write http, grpc or tcp")


class AffinityCookie(Spec):
    """A cookie."""

    name: HeaderName = "ripstop-session"
    """Its name."""
    ttl: PositiveDuration | None = None
    """How long it lives; for the session when left out."""
    path: AbsolutePath = "/"
    """Its path."""


class AffinityHeader(Spec):
    """A header."""

    name: HeaderName
    """Its name."""


class AffinitySpec(Spec):
    """Keeps a client on one endpoint while that is healthy."""

    cookie: AffinityCookie | None = None
    """By a cookie."""
    header: AffinityHeader | None = None
    """By a header."""

    def issues(self) -> Iterator[Issue]:
        """Exactly one way."""
        if (self.cookie is None) == (self.header is None):
            yield Issue((), "one way must be given", "write cookie or header")


class FallbackSpec(Spec):
    """The next in the chain."""

    service: ServiceName
    """The service to call instead."""
    port: Port | None = None
    """Its port; the same as of the call when left out."""
    on: Items[Literal["noHealthy", "breakerOpen", "overflow", "timeout", "status"]] = ("noHealthy",)
    """When it is called."""
    statuses: Items[ErrorStatus] = ()
    """The statuses, for `status`."""

    def issues(self) -> Iterator[Issue]:
        """Statuses go with `status`."""
        if bool(self.statuses) != ("status" in self.on):
            yield Issue(("statuses",), "statuses go with on: [status]", "give both or neither")


class TrafficFields(Spec):
    """Everything that can be said about calls to a service."""

    load_balancer: LoadBalancerSpec | None = None
    """How an endpoint is chosen."""
    limits: LimitsSpec | None = None
    """Breaker limits."""
    outlier_detection: OutlierSpec | None = None
    """When a failing endpoint is set aside."""
    retry: RetrySpec | None = None
    """When a request is tried again."""
    retry_budget: BudgetSpec | None = None
    """How many retries there may be."""
    timeouts: TimeoutsSpec | None = None
    """How long things may take."""
    health_checks: Items[HealthCheckSpec] | None = None
    """Active checks."""
    session_affinity: AffinitySpec | None = None
    """Keeps a client on one endpoint."""
    fallback: Items[FallbackSpec] | None = None
    """Services to call instead, in order."""


class TrafficPolicySpec(TrafficFields):
    """How calls to a Service, or those that a route sends on, are balanced, limited, retried and given up on."""

    target_refs: Items[TargetRef] = Field(min_length=1, max_length=64)
    """The Services and routes that it holds for."""
