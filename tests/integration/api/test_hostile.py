"""Every route of openapi.json with hostile words in every place: refusals of one shape, never a 5xx."""

import itertools
import json
from typing import Any

import pytest

from api.openapi import FILE
from tests.integration.api.conftest import Tenant, error_of

WORDS = [
    "",
    " ",
    "0",
    "-1",
    "9" * 40,
    "nan",
    "%00",
    "%2e%2e%2f",
    "%F0%9F%92%A9",
    "%ff",
    "'--",
    "x" * 3000,
    "ftjob-",
    "null",
]
PATHS: dict[str, Any] = json.loads(FILE.read_text())["paths"]
OPERATIONS = sorted((method, path) for path, methods in PATHS.items() for method in methods)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_no_word_is_a_bug(tenant: Tenant, method: str, path: str) -> None:
    words = itertools.cycle(WORDS)
    query = [each["name"] for each in PATHS[path][method].get("parameters", []) if each["in"] == "query"]
    for word in WORDS:
        address = "/".join(word if part.startswith("{") else part for part in path.split("/"))
        for name in [*query, "metadata[x]", "unknown"]:
            answer = tenant.http.request(method, f"{address}?{name}={next(words)}&{name}={word}")
            assert answer.status_code < 500, answer.text
            if answer.status_code >= 400:
                error_of(answer)
