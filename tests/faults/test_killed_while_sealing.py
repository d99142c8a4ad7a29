"""A rank is killed at each touch of a checkpoint or a resume point: the one before is used, and no part is listed."""

from collections import Counter
from pathlib import Path

import pytest

from core.contract.states import JobState
from core.db.engine import transaction
from core.db.tables import Attempt, Checkpoint
from core.objects.store import Store
from core.queue import ring
from tests.conftest import ROOT
from tests.e2e.live import Live, triples
from tests.faults.conftest import StartWorker, assert_whole
from tests.integration.worker.conftest import Submit, job_row
from tests.integration.worker.test_attempts import chain, finished, weights
from tests.launch import alone
from tests.models import make_tiny_model
from worker.launcher import COLD

STEPS = 6
# Resume points at 2 and 4, the model at 6.
SEALED = ("resume/step-2", "resume/step-4", "checkpoints/step-6")
AT_ONCE = 4


def dying(folder: Path) -> str:
    return f"{{python}} {ROOT}/tests/dying_trainer.py tests.scripted_trainer {folder} 0 --spec {{spec}}"


def touches(folder: Path, job_id: str) -> list[str]:
    return (folder / f"{job_id}.touches").read_text().splitlines()


def begin(started: StartWorker, folder: Path) -> None:
    folder.mkdir()
    # The trainer writes down its touches in a folder that no trainer reaches.
    started(PALATE_TRAINER_COMMAND=dying(folder), PALATE_SLOTS=str(AT_ONCE), PALATE_ISOLATION="off")


def killed_at(submit: Submit, folder: Path, numbers: list[int]) -> dict[int, str]:
    """A job for each number, all at once; their ids once they have ended."""
    jobs = {}
    for number in numbers:
        (folder / "all").write_text(str(number))
        jobs[number] = job = submit(steps=STEPS)
        (folder / job).write_text(str(number))
    (folder / "all").unlink()
    ring()
    for number, job in jobs.items():
        assert finished(job, 120) == JobState.SUCCEEDED, f"killed at touch {number}"
    return jobs


def judge(store: Store, folder: Path, job_id: str, number: int) -> None:
    """Two attempts; the second goes on from the last point that was sealed and stored; only the whole is listed."""
    seen = touches(folder, job_id)
    assert len(seen) == number, "the first attempt died there"
    with transaction() as session:
        first, second = (session.get_one(Attempt, (job_id, epoch)) for epoch in (1, 2))
        listed = session.query(Checkpoint.step, Checkpoint.epoch).filter_by(job_id=job_id).all()
    assert (first.failure_class, job_row(job_id).epoch) == ("infra", 2)
    cut = next(n for n, name in enumerate(SEALED) if name in seen[-1])
    possible = {0: {0}, 1: {2}, 2: {4}}[cut]
    assert second.resumed_from_step in possible, (seen[-1], second.resumed_from_step)
    assert [tuple(row) for row in listed] == [(STEPS, 2)]
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", STEPS)


def undisturbed(submit: Submit, folder: Path) -> list[str]:
    job = submit(steps=STEPS)
    ring()
    assert finished(job) == JobState.SUCCEEDED
    seen = touches(folder, job)
    per = Counter(next(each for each in SEALED if each in line) for line in seen)
    assert set(per) == set(SEALED)
    assert min(per.values()) >= 6, "made, written, hashed, its manifest written and named, renamed"
    return seen


def test_killed_at_the_last_touch_of_each(started: StartWorker, submit: Submit, store: Store, tmp_path: Path) -> None:
    """All is written, and it has not its name yet."""
    folder = tmp_path / "touches"
    begin(started, folder)
    seen = undisturbed(submit, folder)
    last = [n for n, line in enumerate(seen, 1) if line.startswith("os.rename") and line.endswith(".tmp")]
    renamed = [n for n in last if not seen[n - 1].endswith("manifest.json.tmp")]
    assert len(renamed) == len(SEALED)
    for number, job in killed_at(submit, folder, renamed).items():
        judge(store, folder, job, number)
    assert_whole(store)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_every_touch(started: StartWorker, submit: Submit, store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "touches"
    begin(started, folder)
    every = list(range(1, len(undisturbed(submit, folder)) + 1))
    for some in (every[n : n + AT_ONCE] for n in range(0, len(every), AT_ONCE)):
        for number, job in killed_at(submit, folder, some).items():
            judge(store, folder, job, number)
    assert_whole(store)


# By rank: the renaming of the whole folder; the word of a rank that its part is whole.
FATAL = {"0": "os.rename resume/step-60.tmp", "1": "os.rename resume/step-60.tmp/rank-1.files.tmp"}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("ranks")
def test_real_ranks_killed_while_they_seal(tmp_path: Path) -> None:
    """Two ranks; one of them is killed when the third point is written and has not its name yet. The one before it is
    stored by then: they lie twenty steps apart."""
    folder = tmp_path / "touches"
    folder.mkdir()
    found = {}
    with alone():
        for rank in ("0", "1"):
            command = f"{COLD} -- {ROOT}/tests/dying_trainer.py trainer {folder} {rank}"
            live = Live(tmp_path / f"home{rank}", PALATE_TRAINER_COMMAND=command, PALATE_RESUME_STEPS="20")
            live.start()
            try:
                live.palate("models", "add", "tiny", str(make_tiny_model(tmp_path / "model")))
                file = live.user.upload(triples(640))
                live.user.judged(file)
                for disturbed in (False, True):
                    job = live.user.create("tiny", file, 2, batch_size=8, max_steps=70)
                    found[rank, disturbed] = live.user.succeeded(job), live.user.weights(job)
                    assert FATAL[rank] in touches(folder, job)
                    (folder / "all").write_text(FATAL[rank])
                (folder / "all").unlink()
                live.palate("doctor", "--read")
            finally:
                live.stop()
    for rank in ("0", "1"):
        (straight, wanted), (job, got) = found[rank, False], found[rank, True]
        assert straight["palate"]["attempt"]["number"] == 1
        assert (job["palate"]["attempt"]["number"], job["palate"]["attempt"]["resumed_from_step"]) == (2, 40)
        assert got == wanted
