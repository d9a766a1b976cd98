"""Types of single fields: durations, names, hostnames, headers, regular expressions. Each says what to write instead."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from ripstop.ids import ServiceId, is_label
from ripstop.model.spec import wrong

_DURATION = re.compile(r"(?:[0-9]{1,5}(?:h|ms|m|s)){1,4}")
_DURATION_PART = re.compile(r"([0-9]+)(h|ms|m|s)")
_UNIT_MS = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_HOSTNAME = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_SUBDOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,256}")
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
_NOT_RE2 = (
    (re.compile(r"\(\?(?:=|!|<=|<!)"), "lookaround"),
    (re.compile(r"\\[1-9]"), "a backreference"),
    (re.compile(r"\(\?P="), "a backreference"),
    (re.compile(r"\(\?>"), "an atomic group"),
    (re.compile(r"\(\?\("), "a conditional"),
    (re.compile(r"[*+?}]\+"), "a possessive quantifier"),
)
REGEX_CHARACTERS_MAX = 1024


def duration_s(text: str) -> float:
    """Seconds of a GEP-2257 duration.

    Raises:
        ValueError: it is none; the message says what one looks like.
    """
    if not _DURATION.fullmatch(text):
        raise ValueError("a duration is whole numbers with units h, m, s or ms, like 250ms, 1s or 1h30m")
    return sum(int(number) * _UNIT_MS[unit] for number, unit in _DURATION_PART.findall(text)) / 1000


def _duration(value: Any) -> float:
    if not isinstance(value, str):
        raise wrong("a duration is text with a unit", "write it with a unit, like 250ms, 1s, 1m or 1h")
    try:
        return duration_s(value)
    except ValueError as error:
        raise wrong(str(error), "write it like 250ms, 1s, 1m30s or 1h") from None


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise wrong("the duration must be more than 0", "write at least 1ms")
    return seconds


_DURATION_SCHEMA = WithJsonSchema({"type": "string", "pattern": r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"})
Duration = Annotated[float, BeforeValidator(_duration), _DURATION_SCHEMA]
"""Seconds; 0 where the field's documentation gives it a meaning."""
PositiveDuration = Annotated[float, BeforeValidator(_duration), AfterValidator(_positive), _DURATION_SCHEMA]


def _label(text: str) -> str:
    if not is_label(text):
        raise wrong(
            "this is not a name", "use a-z, 0-9 and '-', at most 63 characters, letter or digit at both ends"
        )
    return text


def _object_name(text: str) -> str:
    if len(text) > 253 or not _SUBDOMAIN.fullmatch(text):
        raise wrong("this is not a name", "use a-z, 0-9, '-' and '.', at most 253 characters")
    return text


def _hostname(text: str) -> str:
    if len(text) > 253 or not _HOSTNAME.fullmatch(text):
        raise wrong(
            "this is not a hostname", "write it in lower case, like shop.example.com or *.example.com"
        )
    if not text.startswith("*") and _is_address(text):
        raise wrong("an IP address is not a hostname", "use a DNS name")
    return text


def _precise_hostname(text: str) -> str:
    if text.startswith("*"):
        raise wrong("a wildcard cannot be used here", "write the whole hostname")
    return _hostname(text)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _address(text: str) -> str:
    if not _is_address(text):
        raise wrong("this is not an IP address", "write an IPv4 or IPv6 address; for names use endpoints.dns")
    return text


def _header_name(text: str) -> str:
    if not _HEADER.fullmatch(text):
        raise wrong("this is not a header name", "use letters, digits and '-' (RFC 9110, section 5.1)")
    return text


def _header_value(text: str) -> str:
    if len(text) > 4096 or any(c in text for c in "\r\n\0"):
        raise wrong("this is not a header value", "use one line of at most 4096 characters")
    return text


def _method(text: str) -> str:
    if text not in _METHODS:
        raise wrong("this is not a method", f"write one of {', '.join(_METHODS)}")
    return text


def _regex(text: str) -> str:
    for pattern, what in _NOT_RE2:
        if pattern.search(re.sub(r"\\\\|\[[^\]]*\]", "", text)):
            raise wrong(
                f"the expression has {what}, which RE2 does not", "write it without, or as several matches"
            )
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise wrong(f"this is not a regular expression: {error}", "use RE2 syntax") from None
    return text


def _service_name(text: str) -> str:
    try:
        ServiceId.parse(text)
    except ValueError:
        raise wrong("this is not a service's name", "write `name` or `namespace/name`") from None
    return text


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise wrong("a path starts with '/'", f"write /{text}")
    return text


Label = Annotated[str, AfterValidator(_label)]
"""A name of a service, a namespace, a listener."""
ObjectName = Annotated[str, AfterValidator(_object_name)]
Hostname = Annotated[str, AfterValidator(_hostname)]
PreciseHostname = Annotated[str, AfterValidator(_precise_hostname)]
Address = Annotated[str, AfterValidator(_address)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[str, AfterValidator(_header_value)]
Method = Annotated[str, AfterValidator(_method)]
Regex = Annotated[str, Field(min_length=1, max_length=REGEX_CHARACTERS_MAX), AfterValidator(_regex)]
ServiceName = Annotated[str, AfterValidator(_service_name)]
"""`name` (of the document's own namespace) or `namespace/name`."""
AbsolutePath = Annotated[str, Field(max_length=1024), AfterValidator(_path)]
Port = Annotated[int, Field(ge=1, le=65535)]
Percent = Annotated[float, Field(ge=0, le=100)]
HttpStatus = Annotated[int, Field(ge=200, le=599)]
ErrorStatus = Annotated[int, Field(ge=400, le=599)]
Count = Annotated[int, Field(ge=1, le=4_294_967_295)]


def regex_fault(text: str) -> str:
    """Why `text` is no RE2 expression; empty when it is one."""
    try:
        _regex(text)
    except Exception as error:
        return str(error)
    return ""
