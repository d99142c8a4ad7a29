"""Each domain error has one status."""

import pytest

from api.errors import response_of
from core.contract.errors import (
    BadData,
    BadInput,
    Conflict,
    Fenced,
    NotFound,
    PalateError,
    TooLarge,
    TooSlow,
    Unauthenticated,
    Unavailable,
)
from core.db.submit import IdempotencyKeyReused


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (BadInput("m"), 400, {}),
        (BadData("m"), 400, {}),
        (Unauthenticated("m"), 401, {"www-authenticate": "Bearer"}),
        (NotFound("m"), 404, {}),
        (TooSlow("m"), 408, {}),
        (Conflict("m"), 409, {"x-should-retry": "false"}),
        (Conflict("m", retry=True), 409, {}),
        (TooLarge("m"), 413, {}),
        (IdempotencyKeyReused("m"), 422, {}),
        (Unavailable("m", retry_after=7), 503, {"retry-after": "7"}),
        (Fenced("m"), 500, {}),
    ],
)
def test_the_table(error: PalateError, status: int, headers: dict[str, str]) -> None:
    answer = response_of(error)
    assert answer.status_code == status
    kept = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
    assert kept == headers
