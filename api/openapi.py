"""The description of the API; `python -m api.openapi` writes it to openapi.json at the root of the repository."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from core.contract.job_spec import JobSpec

VERSION = "0.1.0"
DESCRIPTION = (
    "Preference tuning (DPO) of language models behind the fine-tuning API that people's code already speaks: "
    "change `base_url`, keep the code, get the weights."
)
FILE = Path(__file__).resolve().parents[1] / "openapi.json"
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}


def operation_id(route: APIRoute) -> str:
    return f"{route.endpoint.__module__.rpartition('.')[2]}.{route.name}"


def described(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Beside what FastAPI sees: the body that we read ourselves, and one shape of error in place of its own."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            known = schema["components"]["schemas"]
            spec = JobSpec.model_json_schema(ref_template="#/components/schemas/{model}")
            known |= spec.pop("$defs") | {"JobSpec": spec, "Error": ERROR}
            for name in ("HTTPValidationError", "ValidationError"):
                known.pop(name, None)
            refused = {
                "description": "Refused",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            }
            for operations in schema["paths"].values():
                for operation in operations.values():
                    operation["responses"].pop("422", None)
                    operation["responses"] |= {"4XX": refused, "5XX": refused}
            known["Error"] = ERROR
            app.openapi_schema = schema
        return app.openapi_schema

    return describe


def main() -> None:
    from api.app import create_app

    FILE.write_text(json.dumps(create_app().openapi(), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
