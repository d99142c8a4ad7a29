"""A kill in every gap between two durable actions: the service goes on by itself, to the same rows, bytes, weights."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.faults.failpoints import READS, aftermath, function_of, life, points, trained
from tests.faults.lives import Lives, living
from tests.faults.scenario import Scenario
from tests.faults.scenarios import CHEAP, SCENARIOS
from tests.unit.test_house_rules import sources
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("lives")
POINTS = sorted(life(sources()))
# At once armed: so few that no task is lost three times, which its user would hear of.
AT_ONCE = 4
GROUPS = [POINTS[n :: -(-len(POINTS) // AT_ONCE)] for n in range(-(-len(POINTS) // AT_ONCE))]


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lives]:
    with living(tmp_path_factory.mktemp("failpoints")) as made:
        yield made


def test_every_point_has_a_kill() -> None:
    """In a life, in a scenario, or in the real trainer's run (test_trained_failpoints.py); in one of them."""
    killed = Counter([*POINTS, *trained(sources()), *(point for each in SCENARIOS for point in each.points)])
    writing = {point for point in points(sources()) if function_of(point) not in READS}
    assert set(killed) == writing
    assert [point for point, times in killed.items() if times > 1] == []
    assert {point for each in SCENARIOS for point in each.points} == aftermath(sources())


@pytest.mark.timeout(300)
def test_an_undisturbed_life_passes_every_point_of_the_catalogue(lives: Lives) -> None:
    lives.live_once()

    def missing() -> set[str]:
        return set(POINTS) - lives.passed()

    try:
        until(lambda: not missing(), "every point", 60)
    except AssertionError as error:
        raise AssertionError(f"dead entries: {sorted(missing())}") from error
    assert {each for each in lives.passed() if function_of(each) in READS} == set(), "these write"


# One of the API, one of a Task, one of the supervisor, one of the worker: in make test; all of them in make slow.
FEW = ["api.intake:_commit:committed", "worker.validate_task:record:committing", "worker.claim:claim_attempt:committed"]
FEW += ["worker.publisher:commit_resume_point:committing"]
# For the guard that stands before it.
ONE = pytest.param(["worker.publisher:commit_resume_point:committed"], marks=pytest.mark.slow, id="a resume point")


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "names", [FEW, ONE, *(pytest.param(names, marks=pytest.mark.slow, id=names[0]) for names in GROUPS)]
)
def test_a_kill_at_each_point_changes_nothing_in_the_end(lives: Lives, names: list[str]) -> None:
    lives.arm(names)
    lives.live_once()
    lives.until_killed(*names)
    lives.until_calm()
    lives.assert_whole()


def marked(scenario: Scenario) -> object:
    slow = scenario.reach.__name__ not in CHEAP
    return pytest.param(scenario, id=scenario.reach.__name__, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.timeout(400)
@pytest.mark.parametrize("scenario", [marked(each) for each in SCENARIOS])
def test_a_kill_at_each_point_after_a_fault_changes_nothing_in_the_end(lives: Lives, scenario: Scenario) -> None:
    lives.arm(scenario.points)
    scenario.reach(lives)
    lives.until_killed(*scenario.points)
    lives.until_calm()
    lives.assert_whole()
