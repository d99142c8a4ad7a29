"""What each domain error is over HTTP: one table, one shape."""

from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from api.complaints import parameter_error
from api.ranges import Unsatisfiable
from core.contract.errors import (
    BadInput,
    Conflict,
    NotFound,
    PalateError,
    QuotaExceeded,
    RateLimited,
    TooLarge,
    TooSlow,
    Unauthenticated,
    Unavailable,
)

STATUS: dict[type[PalateError], int] = {
    BadInput: 400,
    Unauthenticated: 401,
    NotFound: 404,
    TooSlow: 408,
    Conflict: 409,
    TooLarge: 413,
    QuotaExceeded: 429,
    RateLimited: 429,
    Unavailable: 503,
}
STATUS_OF_CODE = {"range_not_satisfiable": 416, "idempotency_key_reused": 422}
TYPE = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
UNKNOWN_ROUTE = "There is no such route; /docs lists those there are."


def envelope(status: int, message: str, code: str, param: str | None = None, **headers: str) -> JSONResponse:
    """The one shape of every answer from 400 up."""
    kind = TYPE.get(status, "server_error" if status >= 500 else "invalid_request_error")
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return JSONResponse(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


def status_of(error: PalateError) -> int:
    if error.code in STATUS_OF_CODE:
        return STATUS_OF_CODE[error.code]
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def response_of(error: PalateError) -> JSONResponse:
    headers: dict[str, str] = {}
    status = status_of(error)
    if isinstance(error, QuotaExceeded) or (isinstance(error, Conflict) and not error.retry):
        headers["x_should_retry"] = "false"
    if isinstance(error, QuotaExceeded):
        headers["retry_after"] = "59"
    if isinstance(error, Unavailable | RateLimited):
        headers["retry_after"] = str(error.retry_after)
    if isinstance(error, Unsatisfiable):
        headers["content_range"] = f"bytes */{error.size}"
    if status == 401:
        headers["www_authenticate"] = "Bearer"
    return envelope(status, error.message, error.code, error.param, **headers)


async def on_domain_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, PalateError)
    return response_of(error)


async def on_bad_parameter(request: Request, error: Exception) -> JSONResponse:
    """Query and path parameters that FastAPI refused."""
    assert isinstance(error, RequestValidationError)
    return response_of(parameter_error(error.errors()))


async def on_http_error(request: Request, error: Exception) -> JSONResponse:
    """Starlette's own: an unknown route, or a method that a route does not have."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return envelope(404, UNKNOWN_ROUTE, "unknown_route")
    if error.status_code == 405:
        allow = ", ".join(allowed(request))
        return envelope(405, f"{request.method} is not served here; {allow} is.", "method_not_allowed", allow=allow)
    return envelope(error.status_code, str(error.detail), "invalid_request")


def allowed(request: Request) -> list[str]:
    """The methods of all routes at this address: Starlette names those of the first alone."""

    def served(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] == Match.FULL for route in request.app.routes)

    return [method for method in METHODS if served(method)]


HANDLERS: dict[int | type[Exception], Any] = {
    PalateError: on_domain_error,
    RequestValidationError: on_bad_parameter,
    HTTPException: on_http_error,
}
