"""The HTTP API: one application behind both doors. Routes are in the files that begin with `rest_`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ripstop.errors import Conflict, InvalidDocuments, NotFound, Refused, RipstopError, Unavailable
from ripstop.server.access import Access
from ripstop.server.documents import DocumentKeeper
from ripstop.server.plane import Plane

_STATUS: tuple[tuple[type[RipstopError], int], ...] = (
    (InvalidDocuments, 400),
    (Refused, 403),
    (NotFound, 404),
    (Conflict, 409),
    (Unavailable, 503),
)
BODY_BYTES_MAX = 16 * 1024 * 1024
log = structlog.get_logger("ripstop.api")


@dataclass(frozen=True, slots=True)
class Services:
    """What the routes work with. `ads` and `api` are the addresses that agents on other hosts use."""

    plane: Plane
    documents: DocumentKeeper
    access: Access
    ads: str
    api: str


def create_api(services: Services) -> FastAPI:
    """The application."""
    from ripstop.server import rest_agents, rest_decisions, rest_documents, rest_explain, rest_reads

    app = FastAPI(title="Ripstop", docs_url=None, redoc_url=None)
    for routes in (rest_agents, rest_decisions, rest_documents, rest_explain, rest_reads):
        app.include_router(routes.router(services))
    app.add_exception_handler(RipstopError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_bad_request)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_bug)
    app.middleware("http")(_limit_body)
    return app


def status_of(error: RipstopError) -> int:
    """The HTTP status of an error."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 400)


def error_body(message: str, cure: str = "", faults: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """What every refusal looks like."""
    return {"error": {"message": message, "cure": cure, "faults": faults or []}}


async def _on_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RipstopError)
    faults = [asdict(f) for f in error.faults] if isinstance(error, InvalidDocuments) else []
    status = status_of(error)
    if status == 403:
        log.warning("refused", path=request.url.path, reason=error.message)
    return JSONResponse(error_body(error.message, error.cure, faults), status)


async def _on_bad_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    faults = [
        {
            "file": "request",
            "line": 0,
            "path": ".".join(str(part) for part in item["loc"]),
            "message": item["msg"],
            "found": repr(item.get("input"))[:80],
            "cure": "see the reference of the API",
            "document": "",
        }
        for item in error.errors()
    ]
    return JSONResponse(error_body("the request is not understood", "", faults), 400)


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse(error_body(f"{request.method} {request.url.path}: {error.detail}"), error.status_code)


async def _on_bug(request: Request, error: Exception) -> JSONResponse:
    log.error("bug", path=request.url.path, exc_info=error)
    return JSONResponse(error_body("the control plane has a bug; its log says more"), 500)


async def _limit_body(request: Request, call_next: Any) -> Any:
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > BODY_BYTES_MAX or "transfer-encoding" in request.headers:
        return JSONResponse(
            error_body(f"a request has at most {BODY_BYTES_MAX} bytes, and says how many"), 413
        )
    return await call_next(request)
