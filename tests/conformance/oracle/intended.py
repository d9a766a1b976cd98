"""Where the native data plane is meant to differ from Envoy, and why.

A difference that is meant is taken out of both observations, or made in Envoy's, before the two are compared.
"""

from __future__ import annotations

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
    lines = [line | {"flags": ",".join(sorted((line.get("flags") or "-").split(",")))} for line in seen["log"]]
    return seen | {"log": lines}


def no_reason_for_broken_answers(seen: Any) -> Any:
    lines = [line | ({"failure": "-"} if "UPE" in (line.get("flags") or "") else {}) for line in seen["log"]]
    return seen | {"log": lines}


ALWAYS = [
    Intended("flags are told in the order of their table, not in the order in which they came", both=sorted_flags),
    Intended("what was wrong with an answer that broke the rules is told; Envoy says nothing", both=no_reason_for_broken_answers),
]
"""For all cases."""

TRAILERS = Intended("trailers pass; Envoy drops those of HTTP/1 unless told otherwise", both=without_key("trailers"))
OWN_FIELDS = Intended(
    "none of Envoy's own fields are said or believed", both=without_header("x-envoy-external-address", "x-envoy-internal")
)
LOOPBACK = Intended(
    "a client at the loopback is told as such, not as the machine's own address", both=without_header("x-forwarded-for")
)

INTENDED: dict[str, list[Intended]] = {
    "chunked_requests": [TRAILERS],
    "chunked_answers_and_those_without_a_length": [TRAILERS],
    "head_is_answered_by_a_head": [
        Intended("an answer to HEAD need not say how it would be framed (RFC 9110, 8.6)", both=without_header("transfer-encoding"))
    ],
    "forwarded_fields_and_ids_of_a_request_from_outside": [OWN_FIELDS, LOOPBACK],
    "trusted_hops_are_believed": [OWN_FIELDS],
    "copies_go_to_the_mirror_and_their_answers_nowhere": [OWN_FIELDS, LOOPBACK],
    "http_1_0_is_spoken": [
        Intended("a server says its own version, whatever was asked with (RFC 9110, 6.2)", both=everywhere("^HTTP/1[.][01] ", ""))
    ],
    "http_1_0_is_refused_unless_accepted": [
        Intended("what was asked is logged", envoy=in_log(method="GET", path="/", protocol="HTTP/1.0"))
    ],
}
"""By case."""

OPEN: dict[str, str] = {}
"""Differences that are not meant and not mended yet, by case: the test is expected to fail."""


def settle(envoy: Any, native: Any, intended: Iterable[Intended]) -> tuple[Any, Any]:
    """Take out what is meant."""
    for item in intended:
        envoy, native = item.both(item.envoy(envoy)), item.both(native)
    return envoy, native
