"""openapi.json at the root is what the code says: `python -m api.openapi` writes it."""

import json
from collections.abc import Iterator
from typing import Any

from api.app import create_app
from api.openapi import FILE


def test_the_file_is_up_to_date() -> None:
    assert json.loads(FILE.read_text()) == json.loads(json.dumps(create_app().openapi()))


def test_every_reference_leads_somewhere() -> None:
    schema = json.loads(FILE.read_text())
    for reference in references(schema):
        place: Any = schema
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)
