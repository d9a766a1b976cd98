"""Retry -> `RouteAction.retry_policy`. What is safe to repeat depends on the method, so there are two policies.

Always safe: the request never reached an application (connect failure, refused stream, reset before it was sent, or the
peer's sidecar says so with `x-ripstop-not-sent`). Safe for idempotent methods only (RFC 9110, section 9.2.2): all else.
"""

from __future__ import annotations

from collections.abc import Iterator

from ripstop.compiler.extension import uint32
from ripstop.compiler.http_manager import NOT_SENT
from ripstop.model.policy import Retry, Timeouts
from ripstop.xds import pb

IDEMPOTENT = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")
IDEMPOTENT_REGEX = "|".join(IDEMPOTENT)

HOST_PICKS_MAX = 30
"""How often another pick is asked for when it is an endpoint that was tried: of two, all 30 fail once in a billion times."""


def depends_on_method(retry: Retry | None) -> bool:
    """Whether idempotent methods are retried on more than others are."""
    return retry is not None and not retry.all_methods and bool(retry.codes or retry.resets)


def retry_policy(retry: Retry | None, timeouts: Timeouts, *, is_idempotent: bool) -> pb.Message | None:
    """The `RetryPolicy`, or None when nothing is ever repeated."""
    if retry is None or retry.attempts < 1:
        return None
    conditions = list(_conditions(retry, is_idempotent or retry.all_methods))
    if not conditions:
        return None
    made = _base(retry, ",".join(conditions))
    if "retriable-status-codes" in conditions:
        made.retriable_status_codes.extend(retry.codes)
    if "retriable-headers" in conditions:
        made.retriable_headers.append(pb.HeaderMatcher(name=NOT_SENT, present_match=True))
    per_try_s = retry.per_try_timeout_s or timeouts.backend_request_s
    if per_try_s:
        made.per_try_timeout.CopyFrom(pb.duration(per_try_s))
    return made


def _base(retry: Retry, retry_on: str) -> pb.Message:
    """Attempts, back-off, and another host for each try (`retry_host_predicate`)."""
    previous = pb.pack(pb.PreviousHostsPredicate())
    base_s = max(retry.backoff_base_s, 0.001)
    return pb.RetryPolicy(
        retry_on=retry_on,
        num_retries=uint32(retry.attempts),
        retry_host_predicate=[
            {"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": previous}
        ],
        host_selection_retry_max_attempts=HOST_PICKS_MAX,
        retry_back_off={
            "base_interval": pb.duration(base_s),
            "max_interval": pb.duration(max(retry.backoff_max_s, base_s)),
        },
    )


def _conditions(retry: Retry, may_repeat: bool) -> Iterator[str]:
    """The words of `retry_on`. A gRPC code was asked for by name: gRPC has no methods to tell by."""
    if retry.connect_failures:
        yield from ("connect-failure", "refused-stream", "reset-before-request", "retriable-headers")
    if may_repeat and (retry.resets or retry.retry_on_timeout):
        yield "reset"
    if may_repeat and retry.codes:
        yield "retriable-status-codes"
    yield from (code.lower().replace("_", "-") for code in retry.grpc_codes)
