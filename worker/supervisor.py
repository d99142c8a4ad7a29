"""One attempt as a straight line: prepare, launch, follow, publish, close.

`python -m worker.supervisor JOB EPOCH OWNER`: it belongs to nobody, so a restarted Celery worker neither stops nor
adopts it; its ranks die with it.
"""

import contextlib
import logging
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from core import beneath, landlock, processes, queue, settings
from core import log as logs
from core.beneath import NotBeneath
from core.contract.errors import Fenced, Unavailable
from core.contract.manifest import ManifestMismatch
from core.contract.run_spec import RunSpec
from core.contract.states import FailureClass, Outcome, Wish
from core.contract.trainer_events import (
    AnyEvent,
    CheckpointSealed,
    Failed,
    Finished,
    ReferenceSealed,
    ResumePointSealed,
    Stopped,
    Verified,
)
from core.db.attempts import Ending, Lease
from core.db.engine import Session
from core.disk import rename
from core.objects.store import Store
from worker import close, isolation, launcher, lifeline, node_facts, prepare, workspace
from worker.classify import classify, told
from worker.deadline import Deadline
from worker.follower import Follower
from worker.heartbeat import Heartbeat
from worker.pace import Pace
from worker.patience import patiently
from worker.publisher import Publisher
from worker.ranklogs import RankLogs
from worker.recorder import Recorder
from worker.workspace import Workspace

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.1
WRITE_SECONDS = 0.5
WISH_SECONDS = 1.0
CANCEL_SECONDS = 1.0
# For the step under way, and for a resume point so many bytes a second where none of this run's was measured.
DRAIN_SECONDS, DISK_BYTES = 120.0, 250e6
# Of what the longest took until it was sealed.
SLOWER = 3.0
# What the trainer may be asked; a later one overrules an earlier one.
WORDS = ("", "finish", "drain", "cancel")
# Of a file that says one number.
WORD_BYTES = 64


def main(argv: list[str], store: Store) -> int:
    landlock.hide()
    logs.setup("supervisor")
    lease = Lease(argv[0], int(argv[1]), argv[2])
    space = workspace.of(lease)
    with contextlib.suppress(OSError):  # no room: told by `run`, which knows how often it was tried
        move_in(lease)
    lifeline.watch(lambda: end_processes(space))
    own = settings.worker()
    try:
        with Heartbeat(
            lease,
            settings.parts().database_url.get_secret_value(),
            lease_seconds=own.scaled(own.lease_seconds),
            every_seconds=own.scaled(own.heartbeat_seconds),
            fence_seconds=own.scaled(own.fence_seconds),
            on_lost=lambda: fence(space),
        ) as heart:
            Supervisor(lease, space, heart, store).run()
    except Fenced as error:
        log.error("%s", error)
    finally:
        if processes.kill_all(space.processes()):
            space.remove()
        queue.ring()
    return 0


def move_in(lease: Lease) -> None:
    """From here on this node knows who holds the attempt."""
    processes.this_process().sign(workspace.make(lease).supervisor)


def end_processes(space: Workspace) -> None:
    processes.kill_all(space.processes())


def fence(space: Workspace) -> None:
    """The lease is gone: no process of this attempt may go on, and nothing more is written."""
    processes.kill_all(space.processes())
    os._exit(1)


def drain_seconds(state_bytes: int, saving: float) -> float:
    """Until a run that is to leave is ended. `saving`: seconds that its longest resume point took, 0 without one."""
    return DRAIN_SECONDS + (SLOWER * saving if saving else state_bytes / DISK_BYTES)


class Supervisor:
    def __init__(self, lease: Lease, space: Workspace, heart: Heartbeat, store: Store) -> None:
        own = settings.worker()
        self.lease = lease
        self.space = space
        self.heart = heart
        self.lease_seconds = own.scaled(own.lease_seconds)
        self.store = store
        self.lost_before = 0
        self.publisher: Publisher | None = None
        self.draining = False
        self.state_bytes = 0
        self.pace = Pace(own.scaled(own.hang_seconds), own.scaled(own.hang_between_seconds))
        self.hung = ""
        self.deadline = Deadline()
        self.results: Callable[[Session], None] | None = None
        signal.signal(signal.SIGTERM, self._drain)

    def _drain(self, *_: object) -> None:
        self.draining = True

    @property
    def retries(self) -> int:
        """Attempts in a row, before this one, that committed nothing: none once this one has."""
        return 0 if self.publisher is not None and self.publisher.committed else self.lost_before

    def run(self) -> None:
        """Any failure on the way closes the attempt with its class; only a fenced holder leaves without a word."""
        try:
            plan = patiently(lambda: prepare.read(self.lease, self.lease_seconds), "reading the job")
            self.lost_before = plan.job.retries
            self.deadline = Deadline(plan)
            move_in(self.lease)
            spec = prepare.prepare(plan, self.lease, self.space, self.store)
            ending = self.train(spec, plan)
        except prepare.Unwanted:
            ending = Ending(Outcome.STOPPED)
        except Fenced:
            raise
        except (Unavailable, ManifestMismatch, NotBeneath, OSError, subprocess.SubprocessError) as error:
            log.exception("infrastructure")
            ending = self.failed(FailureClass.INFRA, *told(error, settings.worker().node))
        except Exception as error:
            log.exception("attempt")
            ending = self.failed(FailureClass.BUG, "internal_error", f"The worker failed: {type(error).__name__}.")
        dead = processes.kill_all(self.space.processes())
        close.surely(self.lease, ending, self.retries, self.results, seats_end=dead)

    def failed(self, failure: FailureClass, code: str, message: str) -> Ending:
        error = {"code": code, "message": message, "param": None}
        limits = {FailureClass.INFRA: settings.worker().infra_attempts - 1, FailureClass.BUG: 2}
        return Ending(Outcome.FAILED, failure=failure, error=error, retry=self.retries < limits.get(failure, 0))

    def train(self, spec: RunSpec, plan: prepare.Plan) -> Ending:
        keep = plan.spec.palate.checkpoint.keep
        publisher = Publisher(self.lease, self.space.path, self.store, lease_seconds=self.lease_seconds, keep=keep)
        self.publisher = publisher
        self.state_bytes = plan.state_bytes()
        printed = RankLogs(self.lease, self.space, spec.world_size)
        self.pace.launched = time.time()
        process = launcher.launch(self.space, spec.world_size, plan.devices)
        try:
            last = self.follow(process, publisher, printed)
        finally:
            launcher.stop(self.space, process, settings.worker().stop_grace_seconds)
        publisher.finish()
        if not isinstance(last, Finished | Stopped):
            log.warning("the trainer left: %r; the launcher's last words: %s", last, launcher.last_words(self.space))
        self.keep(printed)
        rank_codes, killed = self.rank_ends(spec.world_size)
        limit, halvings = settings.worker().infra_attempts, plan.job.halvings
        ending = classify(last, process.wait(), rank_codes, killed, self.retries, limit, halvings)
        if self.hung and ending.outcome == Outcome.FAILED:
            return self.failed(FailureClass.INFRA, "hang", self.hung)
        if self.deadline.vain and ending.outcome != Outcome.FINISHED:
            return self.deadline.refusal()
        if ending.outcome == Outcome.FINISHED:
            step = publisher.verified_step
            self.results = patiently(lambda: close.results(self.lease, self.store, step), "storing the results")
            node_facts.measured(spec, plan.model.facts, plan.inspection, self.pace)
        if ending.failure == FailureClass.OOM_GPU and (publisher.trained or spec.unverified) and ending.error:
            # It ran out while it verified: smaller rows would change nothing, and nothing is left to train.
            return self.failed(FailureClass.INFRA, str(ending.error["code"]), str(ending.error["message"]))
        if ending.failure == FailureClass.OOM_GPU and ending.retry:
            return replace(ending, halved=close.halved(plan.row_tokens(halvings + 1), spec.settings.batch_size))
        return ending

    def keep(self, printed: RankLogs) -> None:
        """What a run came to does not hang on its logs."""
        try:
            printed.look(now=True)
            printed.upload(self.store)
        except (Unavailable, OSError) as error:
            log.warning("the ranks' logs are not kept whole: %s", error)

    def follow(self, process: launcher.Launched, publisher: Publisher, printed: RankLogs) -> AnyEvent | None:
        """Until the trainer is gone and all it said is recorded; returns its last terminal event."""
        follower = Follower(self.space.events)
        recorder = Recorder(self.lease, self.lease_seconds, isolation.told())
        last: AnyEvent | None = None
        written = asked = 0.0
        word = ""
        while True:
            over = process.poll() is not None
            for event in follower.rest() if over else follower.read():
                recorder.take(event)
                self.pace.take(event)
                if isinstance(event, CheckpointSealed | ResumePointSealed | ReferenceSealed | Verified):
                    publisher.take(event)
                if isinstance(event, Finished | Stopped | Failed):
                    last = event
            now = time.monotonic()
            if over or (recorder.pending and now - written > WRITE_SECONDS) or now - written > WISH_SECONDS:
                wish = self.write(recorder, printed, surely=over)
                written = now
                if not over and (wanted := self.stop_word(wish)) in WORDS[WORDS.index(word) + 1 :]:
                    if wish == Wish.RUN and not self.draining:
                        recorder.say(self.deadline.message(), level="warn", data={"type": "max_runtime"})
                    word, asked = wanted, now
                    self.ask_to_stop(word)
            if over:
                return last
            # A drain has its own patience.
            if not over and not self.hung and word != "drain" and (silent := self.pace.hangs(now)):
                self.hung = f"nothing was heard of the run for {silent:.0f} s; its stacks are in the ranks' logs"
                log.error("%s", self.hung)
                self.space.dump_stacks()
                launcher.end(self.space, process)
            if publisher.failure is not None or (word and now - asked > self.patience(word)):
                launcher.end(self.space, process)
            time.sleep(LOOK_SECONDS)

    def stop_word(self, wish: Wish) -> str:
        """A cancelled run stops as it is; a paused one, and one whose node leaves, with a resume point; one whose time
        is over finishes with what it has."""
        if wish == Wish.CANCEL:
            return "cancel"
        if wish in (Wish.PAUSE, Wish.LEAVE) or self.draining:
            return "drain"
        return self.deadline.word(time.monotonic(), self.pace.trained)

    def patience(self, word: str) -> float:
        """A cancelled run gets the time of one step; what is sealed stays whole when it is killed. One that finishes
        writes its model, however large; it is ended only when it hangs. One that drains writes its whole state."""
        if word == "drain":
            return drain_seconds(self.state_bytes, self.pace.saving)
        return math.inf if word == "finish" else CANCEL_SECONDS + self.pace.longest

    def write(self, recorder: Recorder, printed: RankLogs, *, surely: bool) -> Wish:
        """Postgres may be away for as long as the lease lives; the training goes on meanwhile."""

        def once() -> Wish:
            wish = recorder.write()
            printed.look()
            return wish

        if surely:
            return patiently(once, "writing the last of the progress")
        try:
            return once()
        except Unavailable as error:
            log.warning("progress not written: %s", error)
            return self.heart.wish

    def ask_to_stop(self, word: str) -> None:
        rename(beneath.partial(self.space.stop, word), self.space.stop)

    def rank_ends(self, ranks: int) -> tuple[dict[int, int], list[int]]:
        """(exit codes that ranks wrote down, ranks that started and wrote none)."""
        codes: dict[int, int] = {}
        silent: list[int] = []
        signed = self.space.signed()
        for rank in range(ranks):
            try:
                codes[rank] = int(beneath.read(self.space.path, f"ranks/{rank}.exit", WORD_BYTES))
            except (OSError, ValueError, beneath.NotBeneath):
                if rank in signed:
                    silent.append(rank)
        return codes, silent


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Store.from_settings()))
