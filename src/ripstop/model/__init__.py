"""Documents and what becomes of them: parse, check, resolve."""

from __future__ import annotations

from ripstop.model.check import check
from ripstop.model.document import KINDS, Document
from ripstop.model.parse import Parsed, parse
from ripstop.model.registration_json import (
    registration_from_bytes,
    registration_from_json,
    registration_to_bytes,
    registration_to_json,
)
from ripstop.model.resolve import DEFAULT_TRUST_DOMAIN, resolve, resolve_endpoints
from ripstop.model.resolve.endpoints import DnsName, dns_names
from ripstop.model.schema import json_schema

__all__ = [
    "DEFAULT_TRUST_DOMAIN",
    "KINDS",
    "DnsName",
    "Document",
    "Parsed",
    "check",
    "dns_names",
    "json_schema",
    "parse",
    "registration_from_bytes",
    "registration_from_json",
    "registration_to_bytes",
    "registration_to_json",
    "resolve",
    "resolve_endpoints",
]
