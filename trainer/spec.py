"""Reading what the worker hands over; the first fault is said in one line."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from core.contract.errors import BadInput

Spec = TypeVar("Spec", bound=BaseModel)


def read(path: Path, kind: type[Spec]) -> Spec:
    """Raises BadInput for what does not fit, OSError for what cannot be read."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise BadInput(f"{path.name} is not a valid spec: {where}: {fault['msg']}.", code="bad_spec") from error
