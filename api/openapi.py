"""The description of the API; `python -m api.openapi` writes it to openapi.json at the root of the repository."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from api import answers
from core.contract.job_spec import JobSpec

VERSION = "0.1.0"
DESCRIPTION = (
    "Preference tuning (DPO) of language models behind the fine-tuning API that people's code already speaks: "
    "change `base_url`, keep the code, get the weights."
)
FILE = Path(__file__).resolve().parents[1] / "openapi.json"


def operation_id(route: APIRoute) -> str:
    return f"{route.endpoint.__module__.rpartition('.')[2]}.{route.name}"


def described(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Beside what FastAPI sees: the body that we read ourselves, and one shape of error in place of its own."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            known = schema["components"]["schemas"]
            spec = JobSpec.model_json_schema(ref_template="#/components/schemas/{model}")
            known |= spec.pop("$defs") | {"JobSpec": spec, "Error": answers.ERROR}
            for name in ("HTTPValidationError", "ValidationError"):
                known.pop(name, None)
            for path, operations in schema["paths"].items():
                for operation in operations.values():
                    told = {
                        status: each
                        for status, each in operation["responses"].items()
                        if "HTTPValidationError" not in str(each)
                    }
                    operation["responses"] = dict(sorted((answers.of_any(operation, path) | told).items()))
            app.openapi_schema = schema
        return app.openapi_schema

    return describe


def main() -> None:
    from api.app import create_app

    FILE.write_text(json.dumps(create_app().openapi(), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
