"""The warm trainer: real ranks from a real fork, and who dies with whom."""

import base64
import datetime
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from torch.distributed import TCPStore

from core import processes, settings, warm
from core.contract import manifest
from core.contract.run_spec import RunSpec, Settings
from core.processes import Process
from local import dependents
from tests.conftest import ROOT, forget
from tests.launch import alone
from tests.models import make_tiny_model
from tests.pairs import make_records, write_records
from tests.waiting import until
from worker import launcher
from worker import warm as asking
from worker.workspace import Workspace

pytestmark = pytest.mark.xdist_group("ranks")
GONE_SECONDS = 5.0
LONG = 100_000
Job = Callable[..., Workspace]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The scratch folder of a node, with its warm trainer."""
    scratch = tmp_path_factory.mktemp("node") / ("long" * 20)  # a socket's path may have 107 bytes
    with pytest.MonkeyPatch.context() as patch, alone():
        patch.setenv("PALATE_SCRATCH", str(scratch))
        patch.setenv("PALATE_LAUNCHER", "warm")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PALATE_LIFELINE", str(processes.this_process()))
        patch.setenv("A_SECRET", "of the service")
        forget()
        launcher.warm_up()
        yield scratch
        found = [processes.of(pid) for pid in dependents.carrying(str(processes.this_process()))]
        for process in found:
            process.send(signal.SIGTERM)
        gone(found)
    forget()


def ready() -> dict[str, object]:
    def look() -> dict[str, object] | None:
        try:
            return asking.status(launcher.environment(settings.worker().scratch))
        except warm.Refused:
            return None

    return until(look, "the warm trainer", 40)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> RunSpec:
    folder = tmp_path_factory.mktemp("base")
    return RunSpec(
        run_id="warm",
        workspace=folder,
        model_dir=make_tiny_model(folder / "model"),
        model_digest="tiny",
        train_data=folder / "train.zst",
        train_digest=write_records(folder / "train.zst", make_records(24)),
        world_size=2,
        seed=3,
        settings=Settings(learning_rate=3e-4, batch_size=8, max_steps=3),
    )


@pytest.fixture
def job(node: Path, base: RunSpec, tmp_path: Path) -> Iterator[Job]:
    """Makes a workspace; what still runs in it at the end is killed."""
    made: list[Workspace] = []

    def make(name: str = "job", steps: int = 3) -> Workspace:
        space = Workspace(tmp_path / name)
        for folder in ("ranks", "logs"):
            (space.path / folder).mkdir(parents=True)
        wanted = base.settings.model_copy(update={"max_steps": steps, "n_epochs": steps})
        space.spec.write_text(base.model_copy(update={"workspace": space.path, "settings": wanted}).model_dump_json())
        made.append(space)
        return space

    yield make
    for space in made:
        assert processes.kill_all(space.processes())


def launch(space: Workspace) -> asking.Launched:
    ready()
    launched = launcher.launch(space, 2)
    assert isinstance(launched, asking.Launched), "a cold start stood in"
    return launched


def printed(space: Workspace) -> str:
    return "".join(path.read_text() for path in sorted((space.path / "logs").glob("*.log")))


def training(space: Workspace) -> list[Process]:
    """The launcher and both ranks, once a step is done."""
    until(lambda: space.events.exists() and '"event":"step"' in space.events.read_text(), printed(space) or "a step")
    found = space.processes()
    assert len(found) == 3
    return found


def gone(found: list[Process]) -> None:
    until(lambda: not any(process.alive() for process in found), "the ranks' end", GONE_SECONDS)


def weights(space: Workspace) -> dict[str, str]:
    return {entry.path: entry.sha256 for entry in manifest.read(space.path / "checkpoints" / "step-3").files}


def test_it_computes_nothing_and_every_job_is_a_fresh_fork(job: Job) -> None:
    """The same run twice, and started cold: the same bits. Nothing of a job is left in the next."""
    before = ready()
    assert (before["threads"], before["cuda_initialized"]) == (1, False)
    found = []
    for name in ("first", "second"):
        space = job(name)
        launched = launch(space)
        assert launched.wait(60) == 0, printed(space)
        assert launched.poll() == 0
        gone(space.processes())
        found.append(weights(space))
    space = job("cold")
    assert launcher.cold(space, 2).wait(90) == 0, printed(space)
    assert found == [weights(space)] * 2
    assert ready() == before


def test_the_ranks_are_told_no_secret_and_show_their_own_command(job: Job, node: Path) -> None:
    space = job(steps=LONG)
    launched = launch(space)
    for process in training(space):
        shown = Path(f"/proc/{process.pid}")
        assert str(space.spec) in (shown / "cmdline").read_text().replace("\0", " ")
        assert (shown / "environ").read_bytes().strip(b"\0") == b""
    own = Path(f"/proc/{ready()['pid']}/environ").read_bytes()
    assert b"A_SECRET" not in own
    assert b"PALATE_LIFELINE" in own
    assert (node / "warm").stat().st_mode & 0o777 == 0o700
    launcher.stop(space, launched, 5)
    gone(space.processes())


@pytest.mark.parametrize("start", ["warm", "cold"])
def test_a_run_listens_on_loopback_alone_and_a_pickle_at_its_ports_runs_nowhere(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    """Although the worker's own environment names another interface."""
    others = [name for name, state in psutil.net_if_stats().items() if state.isup and name != "lo"]
    if not others:
        pytest.skip("this machine has no interface but loopback")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", others[0])
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", others[0])
    space = job(start, steps=LONG)
    launched = launch(space) if start == "warm" else launcher.cold(space, 2)
    found = training(space)
    told = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout.splitlines()
    ours = [line.split() for line in told if any(f"pid={process.pid}," in line for process in found)]
    places = [line[3] for line in ours]
    assert len(ours) >= 3, "the store's, and one a rank"
    assert [place for place in places if not place.startswith("127.0.0.1:")] == []

    planted = tmp_path / f"planted-{start}"
    pickled = pickle.dumps(Planted(planted))
    for place in places:
        with socket.create_connection(("127.0.0.1", int(place.partition(":")[2])), timeout=5) as link:
            link.sendall(pickled)
    # The launcher's is the oldest of rank 0's.
    own = [line for line in ours if f"pid={found[1].pid}," in line[5]]
    store = min(own, key=lambda line: int(line[5].rpartition("fd=")[2].strip(")")))[3]
    plant(int(store.partition(":")[2]), pickled)
    before = last_step(space)
    until(lambda: last_step(space) > before + 20 or not found[1].alive(), "more steps", 30)
    assert not planted.exists()
    launcher.stop(space, launched, 5)
    gone(space.processes())
    assert not planted.exists()


class Planted:
    """Who unpickles it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def plant(port: int, pickled: bytes) -> None:
    """In place of each value that the ranks' store has, and of those that torchrun's had."""
    store = TCPStore("127.0.0.1", port, is_master=False, timeout=datetime.timedelta(seconds=10))
    for name in (*store.list_keys(), "torch.rendezvous.none", "torch.rendezvous.palate"):
        for value in (pickled, base64.b64encode(pickled)):
            store.set(name, value.decode("latin-1"))


def last_step(space: Workspace) -> int:
    return space.events.read_text().count('"event":"step"')


def test_a_rank_that_dies_ends_the_others(job: Job) -> None:
    space = job(steps=LONG)
    launched = launch(space)
    _, first, _ = found = training(space)
    first.kill()
    assert launched.wait(10) == 1
    gone(found)
    assert "rank 0 ended with exit code -9" in printed(space)


def test_ranks_die_with_their_launcher(job: Job) -> None:
    space = job(steps=LONG)
    launched = launch(space)
    found = training(space)
    found[0].kill()
    assert launched.wait(5) == -signal.SIGKILL
    gone(found)


def test_ranks_die_with_the_supervisor_although_it_is_no_parent_of_theirs(job: Job) -> None:
    """The launcher, stopped, cannot help."""
    space = job(steps=LONG)
    code = (
        "import sys, signal; from pathlib import Path; from worker import launcher; from worker.workspace import *\n"
        "launched = launcher.launch(Workspace(Path(sys.argv[1])), 2); print(type(launched).__name__, flush=True)\n"
        "signal.pause()"
    )
    ready()
    supervisor = subprocess.Popen(
        [sys.executable, "-c", code, str(space.path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with supervisor:
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline() == "Launched\n"
        found = training(space)
        os.kill(found[0].pid, signal.SIGSTOP)
        supervisor.kill()
        gone(found[1:])
    found[0].kill()
    gone(found)


def test_a_job_outlives_the_warm_trainer_and_the_next_has_another(job: Job) -> None:
    space = job()
    first = ready()["pid"]
    launched = launch(space)
    os.kill(int(str(first)), signal.SIGKILL)
    assert launched.wait(60) == 0, printed(space)
    launcher.warm_up()
    assert ready()["pid"] != first


def test_without_one_the_start_is_cold_and_one_is_started(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NCCL_DEBUG", "WARN")  # another environment needs another warm trainer
    monkeypatch.setenv("PALATE_SCRATCH", str(tmp_path / "another"))
    monkeypatch.setattr(launcher, "COLD", "{python} -c pass")
    forget()
    process = launcher.launch(job(), 2)
    assert isinstance(process, subprocess.Popen)
    assert process.wait(30) == 0
    found = processes.of(int(str(ready()["pid"])))
    found.send(signal.SIGTERM)
    assert processes.wait(found, GONE_SECONDS)
    monkeypatch.undo()
    forget()


def test_after_many_jobs_it_begins_anew_and_it_leaves_with_its_lifeline(job: Job, tmp_path: Path) -> None:
    """What it cannot understand is answered with silence, and harms nobody."""
    path = tmp_path / "warm" / "s"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as lifeline:
        known = {**launcher.environment(tmp_path), "PALATE_LIFELINE": str(processes.of(lifeline.pid))}
        command = [sys.executable, "-m", "trainer", "warm", "--socket", str(path), "--jobs", "1"]
        with subprocess.Popen(command, cwd=ROOT, env=known) as process:
            until(path.exists, "the warm trainer", 40)
            with warm.connect(path, 5) as link:
                warm.say(link, {"spec": 3})
                with pytest.raises(warm.Refused):
                    warm.hear(link)
            spoilt = job()
            spoilt.spec.write_text(json.dumps({"workspace": str(spoilt.path)}))
            with (
                warm.connect(path, 5) as link,
                (tmp_path / "log").open("ab") as output,
                path.with_suffix(".lock").open("rb") as lock,
            ):
                known = {**launcher.environment(spoilt.path), "PALATE_SUPERVISOR": str(processes.this_process())}
                warm.send(
                    link,
                    {"spec": str(spoilt.spec), "ranks": 1, "environment": known},
                    lock.fileno(),
                    output.fileno(),
                )
                assert "launcher" in warm.hear(link)
                warm.say(link, {"go": True})
                link.settimeout(30)
                assert warm.hear(link) == {"exit": 1}
            assert (spoilt.path / "ranks" / "0.exit").read_text() == "64"
            until(lambda: not path.exists(), "its leave")
            until(path.exists, "its return", 40)
            assert process.poll() is None
            lifeline.kill()
            assert process.wait(GONE_SECONDS) == 0


def test_it_leaves_with_its_lifeline_while_it_still_imports(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as lifeline:
        known = {**launcher.environment(tmp_path), "PALATE_LIFELINE": str(processes.of(lifeline.pid))}
        path = tmp_path / "warm" / "s"
        command = [sys.executable, "-m", "trainer", "warm", "--socket", str(path)]
        with subprocess.Popen(command, cwd=ROOT, env=known) as process:
            until(path.with_suffix(".lock").exists, "the beginning")
            lifeline.kill()
            lifeline.wait()
            assert process.wait(GONE_SECONDS) == 0
            assert not path.exists()
