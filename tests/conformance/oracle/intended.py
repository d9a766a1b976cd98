"""Where the native data plane is meant to differ from Envoy, and why.

A difference that is meant is taken out of both observations, or made in Envoy's, before the two are compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

Change = Callable[[Any], Any]


@dataclass(frozen=True)
class Intended:
    """A difference that is meant."""

    why: str
    envoy: Change = lambda seen: seen
    both: Change = lambda seen: seen


def walk(value: Any, change: Callable[[Any], Any]) -> Any:
    """Change every list, dictionary and text, the inner ones first."""
    match value:
        case dict():
            return change({key: walk(item, change) for key, item in value.items()})
        case list():
            return change([walk(item, change) for item in value])
        case _:
            return change(value)


def everywhere(pattern: str, into: str) -> Change:
    """Replace text wherever it stands."""
    compiled = re.compile(pattern)
    return lambda seen: walk(seen, lambda item: compiled.sub(into, item) if isinstance(item, str) else item)


def without_header(*names: str) -> Change:
    """Leave out headers, wherever they are told."""

    def change(item: Any) -> Any:
        if isinstance(item, list):
            return [part for part in item if not (isinstance(part, str) and part.startswith(names))]
        return item

    return lambda seen: walk(seen, change)


def without_key(*names: str) -> Change:
    """Leave out what is told under a name."""

    def change(item: Any) -> Any:
        return {k: v for k, v in item.items() if k not in names} if isinstance(item, dict) else item

    return lambda seen: walk(seen, change)


def in_log(*rows: int, **fields: Any) -> Change:
    """Say something else in lines of the access log; all of them without `rows`."""

    def change(seen: Any) -> Any:
        lines = [line | fields if not rows or at in rows else line for at, line in enumerate(seen["log"])]
        return seen | {"log": lines}

    return change


def sorted_flags(seen: Any) -> Any:
    lines = [
        line | {"flags": ",".join(sorted((line.get("flags") or "-").split(",")))} for line in seen["log"]
    ]
    return seen | {"log": lines}


def no_reason_for_broken_answers(seen: Any) -> Any:
    lines = [line | ({"failure": "-"} if "UPE" in (line.get("flags") or "") else {}) for line in seen["log"]]
    return seen | {"log": lines}


ALWAYS = [
    Intended(
        "flags are told in the order of their table, not in the order in which they came", both=sorted_flags
    ),
    Intended(
        "what was wrong with an answer that broke the rules is told; Envoy says nothing",
        both=no_reason_for_broken_answers,
    ),
]
"""For all cases."""

TRAILERS = Intended(
    "trailers pass; Envoy drops those of HTTP/1 unless told otherwise", both=without_key("trailers")
)
OWN_FIELDS = Intended(
    "none of Envoy's own fields are said or believed",
    both=without_header("x-envoy-external-address", "x-envoy-internal"),
)
LOOPBACK = Intended(
    "a client at the loopback is told as such, not as the machine's own address",
    both=without_header("x-forwarded-for"),
)

NO_CHUNKED_HEAD = Intended(
    "an answer to HEAD need not say how it would be framed (RFC 9110, 8.6)",
    both=without_header("transfer-encoding", "content-length: 0"),
)
HALF_CLOSE = Intended(
    "a tunnel's sides end one after the other, so a client that ends first is no failure",
    both=in_log(details="-", flags="-", received=0, sent=0),
)
UPGRADE_CASE = Intended(
    "`Connection: upgrade` is said in lower case",
    both=everywhere("^connection: [Uu]pgrade", "connection: upgrade"),
)
SNI = Intended("the name asked for is known without a tls_inspector too", both=without_key("name"))


def only_answers(*answers: str) -> Intended:
    """Envoy's answer is chance; ours must be these."""

    def ours(seen: Any) -> Any:
        told = [item.get("answer") or item["headers"][0] for client in seen["client"] for item in client]
        return {"client": told}

    return Intended(
        "an answer is read though the upstream did not take the request; by chance Envoy says that it was reset",
        envoy=lambda seen: {"client": [[{"answer": answer} for answer in answers]]},
        both=ours,
    )


INTENDED: dict[str, list[Intended]] = {
    "chunked_requests": [TRAILERS],
    "chunked_answers_and_those_without_a_length": [TRAILERS],
    "trailers_of_a_request": [TRAILERS],
    "head_is_answered_by_a_head": [NO_CHUNKED_HEAD],
    "forwarded_fields_and_ids_of_a_request_from_outside": [OWN_FIELDS, LOOPBACK],
    "an_edge_may_keep_ids_and_addresses_of_its_clients": [OWN_FIELDS],
    "copies_go_to_the_mirror_and_their_answers_nowhere": [OWN_FIELDS, LOOPBACK],
    "http_1_0_is_spoken": [
        Intended(
            "a server says its own version, whatever was asked with (RFC 9110, 6.2)",
            both=everywhere("^HTTP/1[.][01] ", ""),
        )
    ],
    "http_1_0_is_refused_unless_accepted": [
        Intended("what was asked is logged", envoy=in_log(method="GET", path="/", protocol="HTTP/1.0"))
    ],
    "early_hints": [
        Intended(
            "103 passes (RFC 8297)",
            both=lambda seen: (
                seen
                | {"client": [[a for a in c if a.get("answer") != "HTTP/1.1 103"] for c in seen["client"]]}
            ),
        )
    ],
    "header_changes_of_a_route_apply_to_our_own_answers": [
        Intended(
            "%RESPONSE_CODE% of our own answers is known when their headers are changed",
            both=without_header("x-route"),
        )
    ],
    "redirects_say_where_to": [
        NO_CHUNKED_HEAD,
        Intended("the path that was asked for is logged, not the one of the redirect", both=in_log(path="-")),
    ],
    "hop_by_hop_fields_end_here": [
        Intended(
            "what Connection names of an answer ends here too (RFC 9110, 7.6.1)", both=without_header("x-hop")
        ),
        Intended(
            "credentials for a proxy are not for the upstream (RFC 9110, 11.7.2)",
            both=without_header("proxy-authorization"),
        ),
    ],
    "paths_choose_the_first_route_that_matches": [
        Intended(
            "a fragment is refused with the message (RFC 9112, 3.2.1), so nothing of it is logged",
            both=lambda seen: (
                seen
                | {
                    "log": [line for line in seen["log"] if line["status"] != 400],
                    "client": [c for c in seen["client"] if c[0]["answer"] != "HTTP/1.1 400"],
                }
            ),
        )
    ],
    "queries_and_methods_choose_the_route": [
        Intended(
            "any token is a method (RFC 9110, 9.1), `post` too",
            both=lambda seen: {"client": seen["client"][:-1]},
        )
    ],
    "absolute_form_and_asterisk_form": [
        Intended(
            "OPTIONS of an absolute target without a path is OPTIONS * (RFC 9112, 3.2.4), which no route has",
            both=lambda seen: {"client": seen["client"][:-1], "upstreams": seen["upstreams"]["up0"][:3]},
        )
    ],
    "a_stream_that_the_client_resets": [
        Intended("the upstream is told CANCEL, not INTERNAL_ERROR", both=without_key("reset"))
    ],
    "other_origins_are_told_what_they_may": [
        Intended("OPTIONS without a body says no length (RFC 9110, 8.6)", both=without_key("framing")),
        Intended("the same", both=without_header("content-length: 0")),
    ],
    "a_breaker_for_requests": [
        Intended(
            "a request above the limit is counted as overflow",
            both=lambda seen: (
                seen
                | {
                    "counters": {
                        k: v for k, v in seen["counters"].items() if not k.endswith("pending_overflow")
                    }
                }
            ),
        )
    ],
    "a_server_that_asks_for_no_certificate": [SNI],
    "alpn_chooses_the_protocol": [SNI],
    "clients_show_who_they_are": [SNI],
    "only_some_names_are_let_in": [SNI],
    "fields_that_are_too_large": [
        Intended(
            "why a message was refused is told in our own words",
            both=everywhere("http1[.]headers_too", "headers_too"),
        )
    ],
    "a_connection_that_is_denied": [
        Intended(
            "no upstream is connected to for a client that is refused",
            both=lambda seen: {"client": seen["client"]},
        ),
        Intended(
            "what the client sent may be unread when it ends: RST or FIN is chance",
            both=everywhere("^reset$", "closed"),
        ),
    ],
    "envoys_own_fields_where_they_are_wanted": [
        Intended(
            "an upstream is not told how long its answer may take",
            both=without_header("x-envoy-expected-rq-timeout-ms"),
        )
    ],
    "an_answer_before_the_end_of_a_request_by_http2": [
        Intended(
            "the rest of the request is taken for a while before the stream is reset",
            both=without_key("reset"),
        )
    ],
    "addresses_told_by_proxy_protocol": [
        OWN_FIELDS,
        Intended(
            "a connection without the header ends by FIN, not by RST", both=everywhere("^reset$", "closed")
        ),
    ],
    "the_whole_way_by_mutual_tls_and_http2": [SNI],
    "upstreams_show_who_they_are": [
        Intended(
            "names that do not match are told in fewer words",
            both=everywhere("verify_cert_failed:_(SAN_matcher|verify_SAN_list).*?:TLS", "SAN:TLS"),
        )
    ],
    "an_http2_connection_ends_after_its_last_request": [
        Intended(
            "a connection that was told to go and has no streams is closed at once",
            both=without_key("closed"),
        )
    ],
    "a_retry_avoids_the_host_that_failed": [
        Intended(
            "round robin begins anywhere, so it is chance how often the bad host is tried first",
            both=without_key("counters"),
        )
    ],
    "a_host_that_refuses_is_ejected": [
        Intended(
            "round robin begins anywhere, so it is chance which request fails",
            both=lambda seen: {"client": seen["client"]},
        )
    ],
    "an_answer_before_the_end_of_a_long_upload": [only_answers(":status: 405", ":status: 405")],
    "an_answer_before_a_long_request_is_complete": [only_answers("HTTP/1.1 405")],
    "a_websocket": [HALF_CLOSE, UPGRADE_CASE],
    "a_websocket_over_http2_upstream": [
        HALF_CLOSE,
        Intended("the upstream sees the end of the stream, or CANCEL", both=without_key("reset", "end")),
    ],
    "a_websocket_that_the_upstream_refuses": [
        UPGRADE_CASE,
        Intended("the connection ends by FIN, not by RST", both=everywhere("^reset$", "closed")),
    ],
    "a_websocket_by_extended_connect": [HALF_CLOSE],
    "connect_ends_here": [HALF_CLOSE],
}
"""By case."""

OPEN: dict[str, str] = {}
"""Differences that are not meant and not mended yet, by case: the test is expected to fail."""


def settle(envoy: Any, native: Any, intended: Iterable[Intended]) -> tuple[Any, Any]:
    """Take out what is meant."""
    for item in intended:
        envoy, native = item.both(item.envoy(envoy)), item.both(native)
    return in_order(envoy), in_order(native)


def in_order(seen: Any) -> Any:
    """Lines of a log in an order of their own: exchanges that run at the same time end in any."""
    return seen | {"log": sorted(seen.get("log", ()), key=lambda line: json.dumps(line, sort_keys=True))}
