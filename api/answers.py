"""What an operation may answer beside its result, for openapi.json: statuses, the one shape of errors, redirects."""

from typing import Any

Answers = dict[int | str, dict[str, Any]]

ERROR = {
    "type": "object",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "additionalProperties": False,
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}
REFUSED = {
    400: "Something in the request is wrong: `param` names it, `message` says what to do.",
    401: "No API key was sent, or one that is wrong or revoked.",
    404: "The project has none of this id or name.",
    408: "The request comes too slowly.",
    409: "It is in use, or its state does not allow this; or a request with this Idempotency-Key is in flight.",
    413: "The body is too large.",
    416: "The range begins behind the end; `Content-Range` has the size.",
    421: "This host or origin is not served here.",
    422: "The Idempotency-Key was used with another body.",
    429: "Too many requests of this key, or too many jobs of its project: come again after `Retry-After` seconds.",
    431: "The head of the request is too large.",
    503: "A part is away or busy, or the service stops: come again after `Retry-After` seconds.",
}
ANY = (400, 408, 421, 431, 503)
OF_A_KEY = (401, 429)
SECONDS = {"schema": {"type": "string", "pattern": r"^\d+$"}, "required": True}
HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string", "const": "Bearer"}, "required": True}},
    429: {"Retry-After": SECONDS},
    503: {"Retry-After": SECONDS},
}
BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


def refusal(status: int) -> dict[str, Any]:
    told: dict[str, Any] = {
        "description": REFUSED[status],
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    return told | ({"headers": HEADERS[status]} if status in HEADERS else {})


def refuses(*statuses: int) -> Answers:
    """What an operation refuses with beside what any may."""
    return {status: refusal(status) for status in statuses}


def of_any(operation: dict[str, Any], path: str) -> dict[str, Any]:
    """Of any operation, by what it takes: a key, an id in its path, a body."""
    statuses = [*ANY]
    if operation.get("security"):
        statuses += OF_A_KEY
    if "{" in path:
        statuses.append(404)
    if "requestBody" in operation:
        statuses.append(413)
    return {str(status): refusal(status) for status in statuses}


# Of a route that gives out an object (api.downloads).
DOWNLOAD: Answers = {
    200: {"description": "The bytes.", "content": BYTES},
    206: {
        "description": "The part of them that `Range` names.",
        "content": BYTES,
        "headers": {"Content-Range": {"schema": {"type": "string"}, "required": True}},
    },
    302: {
        "description": "The bytes are at `Location`, for some minutes and without a key.",
        "headers": {"Location": {"schema": {"type": "string", "format": "uri"}, "required": True}},
    },
    **refuses(416),
}
