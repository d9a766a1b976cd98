"""Registrations from outside, checked, and as the store keeps them."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError

from ripstop.errors import Fault, InvalidDocuments
from ripstop.model.workload import Registration

MAX_LEASE_S = 3600.0
MAX_LABELS = 64


class _Adapter:
    """Made when first used: building it costs more than most commands take."""

    _adapter: TypeAdapter[Registration] | None = None

    @classmethod
    def get(cls) -> TypeAdapter[Registration]:
        if cls._adapter is None:
            cls._adapter = TypeAdapter(Registration)
        return cls._adapter


def registration_to_bytes(registration: Registration) -> bytes:
    """A registration as JSON text."""
    return _Adapter.get().dump_json(registration)


def registration_from_bytes(text: bytes) -> Registration:
    """Read what `registration_to_bytes` wrote.

    Raises:
        InvalidDocuments: a field is wrong; all of them are told.
    """
    try:
        return _Adapter.get().validate_json(text)
    except ValidationError as error:
        raise InvalidDocuments(_faults(error)) from None


def registration_from_json(value: Any) -> Registration:
    """Read a registration that came from outside.

    Raises:
        InvalidDocuments: a field is wrong; all of them are told.
    """
    try:
        registration = _Adapter.get().validate_python(value)
    except ValidationError as error:
        raise InvalidDocuments(_faults(error)) from None
    problems = list(_problems(registration))
    if problems:
        raise InvalidDocuments(tuple(problems))
    return registration


def _faults(error: ValidationError) -> tuple[Fault, ...]:
    return tuple(
        _fault(".".join(str(part) for part in item["loc"]), item["msg"], repr(item.get("input"))[:80])
        for item in error.errors(include_url=False)
    )


def _fault(
    path: str, message: str, found: str, cure: str = "send what the contract of the API says"
) -> Fault:
    return Fault(file="registration", line=0, path=path, message=message, found=found, cure=cure)


def _problems(r: Registration) -> list[Fault]:
    problems = []
    for name in ("app_port", "inbound_port", "outbound_port", "admin_port"):
        port = getattr(r, name)
        if not 0 <= port <= 65535:
            problems.append(_fault(name, "this is not a port", str(port), "send a number from 0 to 65535"))
    if not 0 < r.lease_s <= MAX_LEASE_S:
        problems.append(
            _fault("lease_s", "the lease is out of bounds", str(r.lease_s), "send 1 to 3600 seconds")
        )
    if not 0 <= r.weight <= 1_000_000:
        problems.append(_fault("weight", "the weight is out of bounds", str(r.weight), "send 0 to 1000000"))
    if len(r.labels) > MAX_LABELS or "app" in r.labels:
        cure = "leave `app` out: it is the service's name; send at most 64 labels"
        problems.append(_fault("labels", "these labels are not taken", str(sorted(r.labels))[:80], cure))
    return problems
