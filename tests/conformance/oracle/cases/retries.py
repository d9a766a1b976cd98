"""What is tried again, how often, and where."""

from __future__ import annotations

from typing import Any

from ..case import Cluster, Stage, case, request, to
from ..h2peer import H2Call, H2Host, h2_answer
from ..upstreams import BlackHole, Refused, Script, answer, raw, then_reset


def retry(on: str, times: int = 2, **more: Any) -> list[dict[str, Any]]:
    """A route that retries, at once."""
    back_off = {"base_interval": "0.001s", "max_interval": "0.002s"}
    return [to(retry_policy={"retry_on": on, "num_retries": times, "retry_back_off": back_off, **more})]


NO = answer(503, b"no")
OK = answer(200, b"good")


@case(routes=retry("connect-failure", 1), clusters={"up": Cluster([Refused()])})
async def connect_failure_is_retried_until_the_limit(s: Stage) -> None:
    await s.ask("/")


@case(
    routes=retry(
        "connect-failure",
        3,
        retry_host_predicate=[
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ],
        host_selection_retry_max_attempts=10,
    ),
    clusters={"up": Cluster([Refused(), Script((OK,))], extra={"lb_policy": "ROUND_ROBIN"})},
    log={"upstream": "-", "attempts": "-", "failure": "-"},
)
async def a_retry_avoids_the_host_that_failed(s: Stage) -> None:
    for _ in range(4):
        await s.ask("/")


@case(
    routes=retry("connect-failure"),
    clusters={"up": Cluster([BlackHole()], extra={"connect_timeout": "0.2s"})},
)
async def a_connect_timeout_is_a_connect_failure(s: Stage) -> None:
    await s.ask("/")


@case(routes=retry("5xx"), up=[NO, answer(500, b"x"), OK])
async def any_5xx_is_retried(s: Stage) -> None:
    await s.ask("/", method="POST", body=b"again")


@case(routes=retry("5xx", 1), up=[NO, answer(501, b"second"), OK])
async def the_last_answer_is_passed_on(s: Stage) -> None:
    await s.ask("/")


@case(routes=retry("gateway-error", 3), up=[answer(502), NO, answer(504), answer(500, b"not a gateway's")])
async def gateway_errors_are_retried(s: Stage) -> None:
    await s.ask("/")


@case(routes=retry("5xx"), up=[then_reset(), raw(keep=False), OK])
async def a_5xx_policy_retries_resets(s: Stage) -> None:
    await s.ask("/")


@case(routes=retry("reset", 3), up=[then_reset(), raw(keep=False), NO, OK])
async def a_reset_is_retried(s: Stage) -> None:
    await s.ask("/")


@case(routes=retry("reset-before-request"), up=[then_reset(), OK])
async def a_reset_before_the_request_was_sent(s: Stage) -> None:
    await s.ask("/")


@case(routes=retry("reset"), up=[then_reset(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"), OK])
async def nothing_is_retried_after_the_head(s: Stage) -> None:
    await s.ask("/")


@case(
    routes=retry("retriable-status-codes", retriable_status_codes=[404, 418]),
    up=[answer(404), answer(418), OK],
)
async def named_statuses_are_retried(s: Stage) -> None:
    await s.ask("/")


@case(
    routes=retry(
        "retriable-headers", retriable_headers=[{"name": "x-again", "string_match": {"exact": "yes"}}]
    ),
    up=[answer(headers={"x-again": "yes"}, body=b"no"), answer(headers={"x-again": "no"}, body=b"good")],
)
async def answers_with_a_header_are_retried(s: Stage) -> None:
    await s.ask("/")


@case(routes=retry("retriable-4xx", 1), up=[answer(409, b"conflict"), OK, answer(404, b"no")])
async def a_conflict_is_retried(s: Stage) -> None:
    await s.ask("/")
    await s.ask("/")


@case(
    routes=retry("5xx", retriable_request_headers=[{"name": ":method", "string_match": {"exact": "GET"}}]),
    up=[NO, OK, NO, OK],
)
async def only_some_requests_are_retried(s: Stage) -> None:
    await s.ask("/")
    await s.ask("/", method="POST", body=b"x")


@case(routes=retry("5xx", 3, per_try_timeout="0.2s"), up=[raw(2.0), OK])
async def an_attempt_that_takes_too_long_is_retried(s: Stage) -> None:
    await s.ask("/")


@case(routes=retry("gateway-error", 1, per_try_timeout="0.2s"), up=[raw(2.0)])
async def all_attempts_take_too_long(s: Stage) -> None:
    await s.ask("/")


@case(routes=retry("connect-failure", 3, per_try_timeout="0.2s"), up=[raw(2.0)])
async def an_attempt_that_takes_too_long_is_not_always_retried(s: Stage) -> None:
    await s.ask("/")


@case(
    routes=[
        {
            "match": {"prefix": "/"},
            "route": {
                "cluster": "@up",
                "timeout": "0.5s",
                "retry_policy": {"retry_on": "5xx", "num_retries": 100, "per_try_timeout": "0.3s"},
            },
        }
    ],
    up=[raw(2.0)],
    log={"attempts": "-"},
)
async def the_route_timeout_bounds_all_attempts(s: Stage) -> None:
    await s.ask("/")


GRPC = {"content-type": "application/grpc"}


@case(
    routes=retry("cancelled,deadline-exceeded,internal,resource-exhausted,unavailable", 5),
    clusters={
        "up": Cluster(
            [
                H2Host(
                    tuple(
                        h2_answer(200, b"", content_type="application/grpc", grpc_status=code)
                        for code in ["1", "4", "13", "8", "14", "0"]
                    )
                )
            ],
            h2=True,
        )
    },
)
async def grpc_statuses_are_retried(s: Stage) -> None:
    await s.ask("/", method="POST", content_type="application/grpc", te="trailers", body=b"")


async def refuse(call: H2Call) -> None:
    await call.reset(7)


@case(
    routes=retry("refused-stream"),
    clusters={"up": Cluster([H2Host((refuse, h2_answer()))], h2=True)},
)
async def a_refused_stream_is_retried(s: Stage) -> None:
    await s.ask("/")


@case(
    routes=retry("reset-before-request"),
    clusters={"up": Cluster([H2Host((refuse, h2_answer()))], h2=True)},
)
async def a_refused_stream_is_no_reset_before_the_request(s: Stage) -> None:
    await s.ask("/")


@case(
    routes=retry("5xx", 1),
    clusters={
        "up": Cluster(
            [Script((raw(0.3, b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"),))],
            extra={"circuit_breakers": {"thresholds": [{"max_retries": 0}]}},
        )
    },
)
async def no_retry_beyond_the_breaker(s: Stage) -> None:
    await s.ask("/")


@case(
    routes=retry("5xx", 3),
    clusters={
        "up": Cluster(
            [Script((NO,))],
            extra={
                "circuit_breakers": {
                    "thresholds": [
                        {"retry_budget": {"budget_percent": {"value": 0}, "min_retry_concurrency": 0}}
                    ]
                }
            },
        )
    },
)
async def no_retry_beyond_the_budget(s: Stage) -> None:
    await s.ask("/")


@case(
    routes=retry("5xx"),
    hosts={"include_request_attempt_count": True, "include_attempt_count_in_response": True},
    up=[NO, OK],
)
async def attempts_are_told(s: Stage) -> None:
    await s.ask("/")
    client = await s.connect()
    await client.send(request("/"))
    await client.answer()


@case(routes=retry("5xx", 1), up=[NO, answer(200, b"x" * 70_000)])
async def a_body_too_long_to_keep_is_not_sent_again(s: Stage) -> None:
    await s.ask("/", method="POST", body=b"y" * 3_000_000)
