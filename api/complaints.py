"""What pydantic found wrong, as one error with a path, a stable code and a word on what to do."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel

from core.contract.errors import BadInput

TYPES = {
    "string_type": "a string",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "int_from_float": "an integer",
    "int_parsing": "an integer",
    "float_parsing": "a number",
}
BOUNDS = {
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "too_long": "at most {max_length} items long",
    "too_short": "at least {min_length} items long",
    "string_too_long": "at most {max_length} characters long",
    "string_too_short": "at least {min_length} characters long",
    "finite_number": "a finite number",
}
LONGEST = 200
Found = Mapping[str, Any]


def body_error(model: type[BaseModel], body: Any, found: Sequence[Found]) -> BadInput:
    """The first thing to mend in a JSON body. Unions report each member: those at one path are one complaint."""
    at = path_of(body, found[0])
    together = [each for each in found if path_of(body, each) == at]
    if together[0]["type"] == "extra_forbidden":
        hint = nearest(model, at)
        return BadInput(
            f"Unknown parameter: '{dotted(at)}'." + (f" Did you mean '{hint}'?" if hint else ""),
            code="unknown_parameter",
            param=dotted(at),
        )
    return complaint(dotted(at) or "body", together)


def parameter_error(found: Sequence[Found]) -> BadInput:
    """The first query, path or header parameter that is wrong."""
    name = dotted(found[0]["loc"][1:])
    return complaint(name, [each for each in found if each["loc"] == found[0]["loc"]])


def complaint(param: str, found: Sequence[Found]) -> BadInput:
    """`found` is all that was said of one place; a bound says more than the members of a union that do not fit."""
    kinds = {each["type"]: each for each in found}
    if "missing" in kinds:
        return BadInput(f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param)
    for kind, each in kinds.items():
        if kind in BOUNDS:
            bound = BOUNDS[kind].format(**each.get("ctx", {}))
            return BadInput(f"'{param}' must be {bound}.", code="out_of_range", param=param)
    wanted = list(dict.fromkeys(TYPES[kind] for kind in kinds if kind in TYPES))
    literals = [str(each.get("ctx", {}).get("expected")) for each in found if each["type"] == "literal_error"]
    if wanted:
        return BadInput(f"'{param}' must be {' or '.join(wanted + literals)}.", code="invalid_type", param=param)
    if literals:
        return BadInput(f"'{param}' must be {' or '.join(literals)}.", param=param)
    return BadInput(f"'{param}': {found[0]['msg']}.", param=param)


def path_of(body: Any, found: Found) -> tuple[str | int, ...]:
    """`loc` without the names of union members, which are not part of what was sent."""
    path: list[str | int] = []
    here = body
    for part in found["loc"]:
        if (isinstance(here, dict) and part in here) or (isinstance(here, list) and isinstance(part, int)):
            here = here[part]
        elif found["type"] == "missing":
            path.append(part)
            break
        else:
            break
        path.append(part)
    return tuple(path)


def dotted(path: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in path)[:LONGEST]


def nearest(model: type[BaseModel], path: Sequence[str | int]) -> str | None:
    """The known key that was probably meant: the same word elsewhere, or one spelled almost so nearby."""
    known = list(leaves(model))
    *folder, name = [str(part) for part in path]
    for each in known:
        if each.rpartition(".")[2] == name:
            return each
    siblings = [each.rpartition(".")[2] for each in known if each.rpartition(".")[0] == ".".join(folder)]
    close = difflib.get_close_matches(name, siblings, n=1)
    if close:
        return ".".join([*folder, close[0]])
    elsewhere = {each.rpartition(".")[2]: each for each in known}
    far = difflib.get_close_matches(name, elsewhere, n=1, cutoff=0.75)
    return elsewhere[far[0]] if far else None


def leaves(model: type[BaseModel], folder: str = "") -> Iterator[str]:
    """The dotted path of every key that the model knows."""
    for name, field in model.model_fields.items():
        yield folder + name
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from leaves(inner, f"{folder}{name}.")
