"""From the body of POST /v1/fine_tuning/jobs to a JobSpec, or to the first thing to mend in it."""

from typing import Any

from pydantic import ValidationError

from api.complaints import body_error
from core.contract import choice, gate
from core.contract.errors import BadInput
from core.contract.job_spec import JobSpec

MAX_KEY = 255


def job_spec(body: Any) -> JobSpec:
    if not isinstance(body, dict):
        raise BadInput("The body must be a JSON object.", code="invalid_type", param="body")
    refuse_other_methods(body.get("method"))
    refuse_more_nodes(body.get("palate"))
    try:
        spec = JobSpec.model_validate(body)
    except ValidationError as error:
        raise body_error(JobSpec, body, error.errors(include_url=False, include_input=False)) from None
    asked = spec.dpo()
    choice.check_settings(asked, None if asked.loss == "auto" else asked.loss)
    choice.check_split(spec)
    gate.check_accepted(spec.palate.accept)
    if "adapter" in spec.palate.export and asked.lora is None:
        raise BadInput(
            f"Only a LoRA run has an adapter; set `{choice.AT}.lora`, or leave `export` out.", param="palate.export"
        )
    return spec


def refuse_other_methods(method: Any) -> None:
    kind = method.get("type") if isinstance(method, dict) else None
    if isinstance(kind, str) and kind != "dpo":
        raise BadInput(
            f"Method '{kind[:64]}' is not done here; use 'dpo'.", code="unsupported_method", param="method.type"
        )


def refuse_more_nodes(palate: Any) -> None:
    resources = palate.get("resources") if isinstance(palate, dict) else None
    nodes = resources.get("nodes", 1) if isinstance(resources, dict) else 1
    if isinstance(nodes, int) and nodes != 1:
        raise BadInput(
            "A job runs on one node for now; leave `nodes` out or send 1.",
            code="unsupported_resources",
            param="palate.resources.nodes",
        )


def idempotency_key(header: str | None) -> str | None:
    if header is None:
        return None
    if not (0 < len(header) <= MAX_KEY and header.isascii() and header.isprintable()):
        raise BadInput(f"Idempotency-Key: 1 to {MAX_KEY} printable ASCII characters.", param="Idempotency-Key")
    return header


def retry_count(header: str | None) -> int:
    """What the SDK counts up when it sends the same request again; anything else counts as the first time."""
    return int(header) if header and header.isascii() and header.isdigit() and len(header) < 4 else 0
