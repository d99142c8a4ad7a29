"""The wire is what openapi.json says: schemathesis asks what the description allows, and what it does not."""

import copy
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks

from api.app import create_app
from core.objects.store import Store
from tests.integration.api.conftest import Server
from tests.integration.api.matrix import KINDS
from tests.integration.api.owners import PATH, Owner, make_owner

HELD = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
# So that nothing hangs: of one answer; and no request waits for a change longer than this.
ANSWER_SECONDS = 20
WAIT_SECONDS = 0.02
MAKES = ("POST /v1/fine_tuning/jobs", "POST /v1/fine_tuning/plan")


def bodies(owner: Owner) -> st.SearchStrategy[dict[str, Any]]:
    """Of jobs: by the schema alone hardly one would be accepted, for it does not say what exists and fits together."""
    auto = st.just("auto")
    lora = st.fixed_dictionaries(
        {}, optional={"r": auto | st.integers(1, 64), "alpha": auto | st.floats(1, 64), "dropout": st.floats(0, 0.5)}
    )
    asked = st.fixed_dictionaries(
        {},
        optional={
            "beta": auto | st.floats(0.01, 1),
            "batch_size": auto | st.integers(1, 256),
            "n_epochs": auto | st.integers(1, 50),
            "learning_rate": auto | st.floats(1e-7, 1e-3),
            "lr_schedule": st.sampled_from(["linear", "cosine", "constant", "auto"]),
            "warmup_ratio": st.floats(0, 1),
            "max_grad_norm": auto | st.floats(0, 10),
            "max_length": auto | st.integers(16, 4096),
            "truncation": st.sampled_from(["drop", "keep_end", "auto"]),
            "lora": st.none() | lora,
        },
    )
    words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
    options = st.fixed_dictionaries(
        {},
        optional={
            "priority": st.integers(-100, 100),
            "max_runtime_seconds": st.none() | st.integers(1, 10**6),
            "checkpoint": st.fixed_dictionaries({}, optional={"keep": st.integers(1, 100)}),
            "probe_prompts": st.lists(words.filter(bool), max_size=8),
        },
    )
    return st.fixed_dictionaries(
        {"model": st.just(owner.names["model"][0]), "training_file": st.just(owner.names["file"][0])},
        optional={
            "seed": st.none() | st.integers(0, 2**31 - 1),
            "suffix": st.none() | st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
            "metadata": st.none() | st.dictionaries(words.filter(bool), words, max_size=16),
            "method": st.fixed_dictionaries(
                {"type": st.just("dpo"), "dpo": st.fixed_dictionaries({"hyperparameters": asked})}
            ),
            "palate": options,
        },
    )


@dataclass
class Run:
    """`seen`: (operation, mode, status) to how often. `made`: statuses of bodies that should be accepted.
    `wrong`: (operation, kind of failure) to the first of them."""

    server: Server
    owner: Owner
    session: requests.Session
    seen: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    made: Counter[int] = field(default_factory=Counter)
    wrong: dict[tuple[str, str], str] = field(default_factory=dict)

    def ask(self, case: schemathesis.Case, mode: GenerationMode, draw: Callable[[Any], Any]) -> None:
        label = case.operation.label
        ours = mode == GenerationMode.POSITIVE and label in MAKES and draw(st.integers(0, 3)) > 0
        if ours:
            case.body = draw(bodies(self.owner))
        self.name(case, mode, draw)
        wait = case.query.get("wait") if isinstance(case.query, dict) else None
        if isinstance(wait, int | float):
            case.query["wait"] = min(wait, WAIT_SECONDS)
        headers = {"Authorization": f"Bearer {self.owner.token}"}
        answer = case.call(
            base_url=self.server.url,
            session=self.session,
            headers=headers,
            timeout=ANSWER_SECONDS,
            allow_redirects=False,
        )
        self.seen[label, mode.value, answer.status_code] += 1
        if ours:
            self.made[answer.status_code] += 1
        # In a query or a form all is text: what was drawn as a number or null is a word there.
        held = [*HELD, checks.negative_data_rejection] if label in MAKES else HELD
        try:
            case.validate_response(answer, checks=held, headers=headers)
        except FailureGroup as group:
            for each in group.exceptions:
                told = [f"{each.title}: {each.message}", case.as_curl_command(), answer.status_code, answer.text[:400]]
                self.wrong.setdefault((label, each.title), "\n".join(map(str, told)))

    def name(self, case: schemathesis.Case, mode: GenerationMode, draw: Callable[[Any], Any]) -> None:
        """Mostly of what is there: an id by the schema is nobody's."""
        for place in case.path_parameters or {}:
            if draw(st.integers(0, 3)):
                known = [PATH] if place == "path" else self.owner.names[KINDS[place]]
                case.path_parameters[place] = draw(st.sampled_from(known))


def run(owner: Owner, server: Server, cases: int, number: int) -> Run:
    described = copy.deepcopy(create_app().openapi())
    for each in described["paths"].values():
        for told in each.values():
            told.pop("security", None)  # who has no key is another test's: test_projects.py
    found = [each.ok() for each in schemathesis.openapi.from_dict(described).get_all_operations()]
    # What deletes comes last: before that there is something to name.
    found.sort(key=lambda each: (each.method.upper() == "DELETE", each.method.upper() != "GET"))
    kinds = [(each, mode) for each in found for mode in MODES if mode == GenerationMode.POSITIVE or breakable(each)]
    # Who takes nothing is asked once, whatever is drawn.
    share = math.ceil(cases / sum(bool(each.definition.raw.get("parameters") or each.body) for each, _ in kinds))
    with requests.Session() as session:
        running = Run(server, owner, session)
        for operation, mode in kinds:
            drawn(running, operation, mode, share, number)
    return running


def breakable(operation: Any) -> bool:
    """Any text is a path's: only what stands elsewhere can be wrong by the schema."""
    return bool(operation.body) or any(each["in"] != "path" for each in operation.definition.raw.get("parameters", []))


def drawn(running: Run, operation: Any, mode: GenerationMode, share: int, number: int) -> None:
    """One of Hypothesis' examples has at most 8 KiB, so what is uploaded is small."""

    @seed(number)
    @settings(
        max_examples=share,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode), st.data())
    def one(case: schemathesis.Case, data: st.DataObject) -> None:
        running.ask(case, mode, data.draw)

    one()


@pytest.mark.parametrize(
    "cases",
    [
        pytest.param(200, marks=pytest.mark.timeout(120)),
        pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
    ],
)
def test_every_answer_is_described(server: Server, store: Store, cases: int) -> None:
    running = run(make_owner(store), server, cases, number=20)
    assert not running.wrong, "\n\n".join(running.wrong.values())
    assert sum(running.seen.values()) >= cases
    accepted = running.made[200] + running.made[202]
    assert accepted > sum(running.made.values()) / 2, running.made
    answered: Sequence[str] = sorted({label for (label, _, status) in running.seen if status < 400})
    assert len(answered) >= 20, answered
