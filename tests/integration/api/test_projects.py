"""A key reaches its project and nothing else: every operation of openapi.json, asked with every kind of id and key."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import uvicorn

from api.app import create_app
from core.objects.store import Store
from tests.integration.api.conftest import error_of, until
from tests.integration.api.matrix import Operation, malformed, nobodys, operations
from tests.integration.api.owners import Owner, end_jobs, everything, make_owner
from tests.integration.api.statements import fault, listening

CHANGING = {"x-request-id", "date"}
LIMITS = ("x-ratelimit-", "ratelimit")


@dataclass
class World:
    """`ask` checks on the way what holds of every answer."""

    client: httpx.Client
    owners: list[Owner]
    store: Store
    operations: list[Operation]
    asked: int = 0

    def others(self, owner: Owner) -> list[Owner]:
        return [each for each in self.owners if each is not owner]

    def ask(self, owner: Owner | None, request: dict[str, Any], token: str | None = None) -> httpx.Response:
        token = owner.token if owner is not None else token
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        others = [each for each in self.owners if each is not owner]
        with listening() as sent:
            answer = self.client.request(**request, headers=headers)
            found = sent()
        self.asked += 1
        foreign = frozenset(name for each in others for name in each.all_names | each.rows)
        faults = [each for statement in found if (each := fault(*statement, foreign))]
        assert faults == [], (request, faults)
        told = f"{answer.text} {dict(answer.headers)}"
        for name in foreign:
            assert name not in told or name in str(request), (request, name)
        assert answer.status_code < 500, (request, answer.text)
        return answer


@pytest.fixture
def world(here: None, environment: dict[str, str], store: Store) -> Iterator[World]:
    """The API in a thread of this process, so that its statements are heard."""
    app = create_app()
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            owners = [make_owner(store) for _ in range(3)]
            yield World(client, owners, store, list(operations(app.openapi())))
    finally:
        server.should_exit = True
        thread.join(30)


def seen(answer: httpx.Response, name: str) -> tuple[int, str, dict[str, str]]:
    headers = {
        key: value.replace(name, "NAME")
        for key, value in answer.headers.items()
        if key not in CHANGING and not key.startswith(LIMITS)
    }
    return answer.status_code, answer.text.replace(name, "NAME"), headers


def test_another_projects_is_unknown_and_untouched(world: World) -> None:
    before = list(everything(world.store))
    for operation in world.operations:
        for place, kind in operation.places.items():
            for caller in world.owners:
                for other in world.others(caller):
                    for name in other.names[kind]:
                        nobody = nobodys(name)
                        theirs = world.ask(caller, operation.request(caller, place, name))
                        unknown = world.ask(caller, operation.request(caller, place, nobody))
                        assert seen(theirs, name) == seen(unknown, nobody), (operation.id, place)
                        assert theirs.status_code in (400, 404), (operation.id, place)
                        error_of(theirs)
    for operation in world.operations:
        for place, kind in operation.places.items():
            for name in malformed(world.owners[0].names[kind][0]):
                answer = world.ask(world.owners[0], operation.request(world.owners[0], place, name))
                assert 400 <= answer.status_code < 500, (operation.id, place, name)
                error_of(answer)
    assert list(everything(world.store)) == before


def test_without_a_key_that_serves_nothing_is_told(world: World) -> None:
    """Neither whether there is such an id, nor whose."""
    before = list(everything(world.store))
    for operation in world.operations:
        request = operation.request(world.owners[0])
        if operation.open:
            assert world.ask(None, request).status_code == 200
            continue
        for kind, token in world.owners[0].refused.items():
            answers = [world.ask(None, request, token)]
            for place, what in operation.places.items():
                unknown = nobodys(world.owners[0].names[what][0])
                answers.append(world.ask(None, operation.request(world.owners[0], place, unknown), token))
            assert {answer.status_code for answer in answers} == {401}, (operation.id, kind)
            assert len({str(seen(answer, " ")) for answer in answers}) == 1, (operation.id, kind)
            assert answers[0].headers["www-authenticate"] == "Bearer"
    assert list(everything(world.store)) == before


def test_its_own_each_project_has(world: World) -> None:
    """With the same requests: so the refusals above are of the id. What deletes comes last."""
    for operation in sorted(world.operations, key=lambda each: (each.method == "DELETE", not each.reads)):
        for owner in world.owners:
            if operation.method == "DELETE":
                end_jobs(owner)
            answer = world.ask(owner, operation.request(owner))
            assert answer.status_code in (200, 202, 302, 409) or base_model(operation, answer), (operation, answer.text)
            for place, kind in operation.places.items() if operation.reads else ():
                for name in owner.names[kind]:
                    answer = world.ask(owner, operation.request(owner, place, name))
                    assert answer.status_code in (200, 202, 302), (operation.id, place, answer.text)


def base_model(operation: Operation, answer: httpx.Response) -> bool:
    """It is the operator's: the project may not delete it, and is told so."""
    return operation.id == "models.delete" and "base model" in error_of(answer)["message"]


def test_a_route_of_which_nobody_says_what_it_names_fails() -> None:
    told = {"operationId": "new.get", "parameters": [{"in": "path", "name": "thing_id"}], "security": [{}]}
    with pytest.raises(AssertionError, match="thing_id"):
        list(operations({"paths": {"/v1/things/{thing_id}": {"get": told}}}))
