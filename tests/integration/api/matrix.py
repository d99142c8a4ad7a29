"""Every place of openapi.json that names something of a project, and the request that fills it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.integration.api.owners import PATH, Owner

# What a parameter names, by its own name; of `after`, by its operation.
KINDS = {"file_id": "file", "job_id": "job", "model": "model", "job": "job"}
AFTER = {
    "files.page": "file",
    "jobs.page": "job",
    "jobs.page_of_events": "event",
    "jobs.page_of_checkpoints": "checkpoint",
    "reports.errors": None,
}
IN_BODY = {"model": "model", "training_file": "file", "validation_file": "file"}
# Those that name nothing of anybody's. A path and an idempotency key are names within what the project has.
PLAIN = {
    *("limit", "order", "purpose", "code", "level", "wait", "since", "name", "since_step", "tail"),
    *("path", "idempotency-key"),
}
PLAIN_IN_BODY = {"suffix", "seed", "metadata", "integrations", "method", "hyperparameters", "palate"}
PLAIN_BODIES = {"files.create"}


@dataclass(frozen=True)
class Operation:
    """`places`: (where, name) to the kind of what stands there, in path, query or body. `required` in the query."""

    id: str
    method: str
    path: str
    open: bool
    places: dict[tuple[str, str], str]
    required: frozenset[str]

    def request(self, owner: Owner, place: tuple[str, str] | None = None, name: str = "") -> dict[str, Any]:
        """All of it the owner's own, but for what stands in `place`."""

        def filled(where: str, each: str) -> str:
            if (where, each) == place:
                return name
            return owner.names[self.places[where, each]][0]

        path = self.path.replace("{path}", PATH)
        for where, each in self.places:
            if where == "path":
                path = path.replace(f"{{{each}}}", filled(where, each))
        query = {
            each: filled(where, each)
            for where, each in self.places
            if where == "query" and (each in self.required or (where, each) == place)
        }
        body = {
            each: filled(where, each)
            for where, each in self.places
            if where == "body" and (each != "validation_file" or (where, each) == place)
        }
        asked: dict[str, Any] = {"method": self.method, "url": path, "params": query}
        if body:
            asked["json"] = body
        if self.id in PLAIN_BODIES:
            asked |= {"files": {"file": ("a.jsonl", b"{}")}, "data": {"purpose": "fine-tune"}}
        return asked

    @property
    def reads(self) -> bool:
        return self.method == "GET"


def operations(schema: dict[str, Any]) -> Iterator[Operation]:
    """Fails at a parameter or a body of which this file does not say what it names."""
    for path, methods in schema["paths"].items():
        for method, told in methods.items():
            places: dict[tuple[str, str], str] = {}
            for each in told.get("parameters", []):
                kind = kind_of(told["operationId"], each["name"])
                if kind is not None:
                    places[each["in"], each["name"]] = kind
            places |= in_body(told, schema)
            required = {each["name"] for each in told.get("parameters", []) if each.get("required")}
            yield Operation(
                told["operationId"], method.upper(), path, not told.get("security"), places, frozenset(required)
            )


def kind_of(operation: str, name: str) -> str | None:
    if name == "after":
        assert operation in AFTER, f"say in AFTER what `after` of {operation} names"
        return AFTER[operation]
    assert name in KINDS or name in PLAIN, f"say in KINDS what the parameter {name!r} of {operation} names"
    return KINDS.get(name)


def in_body(told: dict[str, Any], schema: dict[str, Any]) -> dict[tuple[str, str], str]:
    if "requestBody" not in told or told["operationId"] in PLAIN_BODIES:
        return {}
    reference = told["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    known = schema["components"]["schemas"][reference.rpartition("/")[2]]["properties"]
    unknown = set(known) - set(IN_BODY) - PLAIN_IN_BODY
    assert not unknown, f"say in IN_BODY what {unknown} of {told['operationId']} name"
    return {("body", name): kind for name, kind in IN_BODY.items() if name in known}


def nobodys(name: str) -> str:
    """Of the same shape and length as `name`, and of nobody."""
    return name[:-8] + name[-8:].translate(str.maketrans("0123456789abcdefghijklmnopqrstuvwxyz", "z" * 36))


def malformed(name: str) -> list[str]:
    return [name.upper(), name[:-1], f"{name}0", f" {name}", "%2e%2e%2f", "x" * 3000, "💩", "'--"]
