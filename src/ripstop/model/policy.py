"""Effective policies: documents resolved, defaults filled in. Durations are seconds, ratios are percent.

These are what the compiler reads. What an operator writes is in `model/policies/`; the defaults here are the safe ones
that hold without any document.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from ripstop.ids import ServiceId


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The document line responsible for something: for `explain`, `status` and route metadata."""

    file: str
    line: int
    document: str
    path: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.path}".rstrip()


class Algorithm(StrEnum):
    """Load balancing algorithms, named as in documents."""

    ROUND_ROBIN = "RoundRobin"
    LEAST_REQUEST = "LeastRequest"
    RANDOM = "Random"
    RING_HASH = "RingHash"
    MAGLEV = "Maglev"
    PEAK_EWMA = "PeakEwma"


@dataclass(frozen=True, slots=True, kw_only=True)
class HashKey:
    """What a consistent-hash balancer hashes: `kind` is header, cookie, sourceIp or queryParameter."""

    kind: str
    name: str = ""
    ttl_s: float | None = None
    path: str = ""
    terminal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancer:
    """How an endpoint is chosen (Envoy `load_balancing_policy`)."""

    algorithm: Algorithm = Algorithm.PEAK_EWMA
    choice_count: int = 2
    hash_keys: tuple[HashKey, ...] = ()
    ring_size_min: int = 1024
    maglev_table_size: int = 65537
    slow_start_s: float | None = None
    slow_start_aggression: float = 1.0
    slow_start_min_percent: float = 10.0
    panic_threshold_percent: float = 50.0
    prefer_local: bool = True
    overprovisioning_percent: int = 140


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Breaker limits per proxy and upstream (Envoy `circuit_breakers.thresholds`)."""

    max_connections: int = 1024
    max_pending_requests: int = 1024
    max_requests: int = 1024
    max_requests_per_connection: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierDetection:
    """When a failing endpoint is set aside (Envoy `outlier_detection`); None for a detector that is off."""

    consecutive_failures: int | None = 5
    consecutive_gateway_failures: int | None = None
    consecutive_local_origin_failures: int | None = None
    interval_s: float = 1.0
    base_ejection_s: float = 30.0
    max_ejection_s: float = 300.0
    max_ejection_percent: int = 50
    success_rate_stdev_factor: float | None = None
    success_rate_min_hosts: int = 5
    success_rate_request_volume: int = 100
    failure_percentage_threshold: int | None = None
    failure_percentage_min_hosts: int = 5
    failure_percentage_request_volume: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """When an attempt is repeated. `attempts` counts retries, not the first try.

    `codes` are retried on idempotent methods only (RFC 9110 section 9.2.2) unless `all_methods`. `connect_failures`
    (connect failure, refused stream, reset before the request was sent) are always safe; `resets` (no response byte) are
    retried on idempotent methods.
    """

    attempts: int = 1
    codes: tuple[int, ...] = ()
    grpc_codes: tuple[str, ...] = ()
    connect_failures: bool = True
    resets: bool = True
    all_methods: bool = False
    backoff_base_s: float = 0.025
    backoff_max_s: float = 0.25
    per_try_timeout_s: float | None = None
    retry_on_timeout: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryBudget:
    """Retries in flight as a share of requests in flight (Envoy `retry_budget`)."""

    percent: float = 20.0
    min_concurrency: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """0 means none. `request_s` covers all retries; `backend_request_s` one try."""

    connect_s: float = 1.0
    request_s: float = 15.0
    backend_request_s: float = 0.0
    idle_s: float = 300.0
    max_stream_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """An active check by each proxy (Envoy `health_checks`). `kind` is http, tcp or grpc."""

    kind: str = "http"
    path: str = "/"
    host: str = ""
    grpc_service: str = ""
    expected_codes: tuple[int, ...] = (200,)
    interval_s: float = 5.0
    timeout_s: float = 2.0
    unhealthy_threshold: int = 3
    healthy_threshold: int = 2


class FallbackTrigger(StrEnum):
    """Why a call goes on to the next in the chain. Envoy can do NO_HEALTHY only, the native data plane all."""

    NO_HEALTHY = "noHealthy"
    BREAKER_OPEN = "breakerOpen"
    OVERFLOW = "overflow"
    TIMEOUT = "timeout"
    STATUS = "status"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """One hop of a fallback chain."""

    service: ServiceId
    port: int | None = None
    triggers: frozenset[FallbackTrigger] = frozenset({FallbackTrigger.NO_HEALTHY})
    statuses: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionAffinity:
    """A cookie or header that keeps a client on one endpoint (Gateway API `sessionPersistence`, Envoy
    `stateful_session`)."""

    kind: str = "Cookie"
    name: str = "ripstop-session"
    absolute_timeout_s: float | None = None
    idle_timeout_s: float | None = None
    is_permanent: bool = False
    path: str = "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Faults put in on purpose (FaultInjection). Percent of requests; `headers` narrow it
    to requests that carry them all."""

    delay_s: float = 0.0
    delay_percent: float = 0.0
    abort_status: int | None = None
    abort_grpc_status: int | None = None
    abort_percent: float = 0.0
    headers: tuple[tuple[str, str], ...] = ()
    source: Source | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """A local token bucket at the server's sidecar (Envoy `local_ratelimit`); `per` seconds for `requests`."""

    requests: int
    per_s: float = 1.0
    burst: int | None = None
    status: int = 429
    source: Source | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectivePolicy:
    """Everything that holds for calls to one service (or one route, where a policy targets it)."""

    load_balancer: LoadBalancer = LoadBalancer()
    limits: Limits = Limits()
    outlier: OutlierDetection | None = OutlierDetection()
    retry: Retry | None = Retry()
    budget: RetryBudget = RetryBudget()
    timeouts: Timeouts = Timeouts()
    health_checks: tuple[HealthCheck, ...] = ()
    fallbacks: tuple[Fallback, ...] = ()
    session: SessionAffinity | None = None
    fault: Fault | None = None
    rate_limits: tuple[RateLimit, ...] = ()
    sources: tuple[tuple[str, Source], ...] = ()
    """(field, document line) for each field that a document set; the rest are defaults."""


class Action(StrEnum):
    """What an AuthorizationPolicy does."""

    ALLOW = "Allow"
    DENY = "Deny"
    AUDIT = "Audit"


@dataclass(frozen=True, slots=True, kw_only=True)
class StringMatch:
    """`kind` is exact, prefix, suffix, regex or present."""

    kind: str
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRule:
    """One rule: every part that is given must match; within a part any value may; empty parts match all."""

    principals: tuple[StringMatch, ...] = ()
    namespaces: tuple[StringMatch, ...] = ()
    not_principals: tuple[StringMatch, ...] = ()
    not_namespaces: tuple[StringMatch, ...] = ()
    methods: tuple[str, ...] = ()
    not_methods: tuple[str, ...] = ()
    paths: tuple[StringMatch, ...] = ()
    not_paths: tuple[StringMatch, ...] = ()
    ports: tuple[int, ...] = ()
    headers: tuple[tuple[str, StringMatch], ...] = ()
    source: Source | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """An AuthorizationPolicy as it holds for one service. A principal is a SPIFFE URI. No rules match nothing.

    `audits` is what an Audit policy would have done: ALLOW or DENY.
    """

    name: str
    namespace: str
    action: Action
    rules: tuple[AuthorizationRule, ...]
    audits: Action = Action.DENY
    source: Source | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshSettings:
    """The Mesh document: what holds everywhere."""

    name: str = "mesh"
    trust_domain: str = "ripstop.local"
    defaults: EffectivePolicy = field(default_factory=EffectivePolicy)
    svid_ttl_s: float = 86400.0
    access_log: bool = True
    egress_allowed: bool = False
    """Whether plain HTTP to hosts outside the mesh passes through sidecars (Mesh `spec.egress.mode: Allow`)."""
    tracing_sample_percent: float = 100.0
