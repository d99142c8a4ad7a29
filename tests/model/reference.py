"""What jobs, attempts and nodes must do, in plain Python: no SQL, no clock. The machine compares Postgres with it."""

from dataclasses import dataclass, field

from core.contract.states import Desired, JobState, Outcome, Wish
from core.db.attempts import Lease

INFRA_ATTEMPTS = 5


@dataclass
class RefJob:
    ranks: int
    state: JobState = JobState.QUEUED
    desired: Desired = Desired.RUN
    epoch: int = 0
    retries: int = 0
    step: int = 0


@dataclass
class Hold:
    """One attempt's holder, who may live on when the attempt is closed: a zombie. `step` is where it stands.

    `seated`: its ranks may live, so its devices are in use.
    """

    lease: Lease
    node: str
    step: int
    open: bool = True
    seated: bool = True
    stalled: bool = False


@dataclass
class Reference:
    slots: dict[str, int]
    jobs: dict[str, RefJob] = field(default_factory=dict)
    holds: list[Hold] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    draining: set[str] = field(default_factory=set)
    max_running: int | None = None

    def submit(self, key: str, job_id: str, ranks: int) -> None:
        self.keys[key] = job_id
        self.jobs[job_id] = RefJob(ranks)

    def next_for(self, node: str) -> str | None:
        """Jobs are kept in the order of their creation, which is the order of claiming."""
        held = [hold for hold in self.holds if hold.open]
        if node in self.draining or (self.max_running is not None and len(held) >= self.max_running):
            return None
        used = [hold for hold in self.holds if hold.seated and hold.node == node]
        free = self.slots[node] - sum(self.jobs[hold.lease.job_id].ranks for hold in used)
        for job_id, job in self.jobs.items():
            if job.state == JobState.QUEUED and job.desired == Desired.RUN and job.ranks <= free:
                return job_id
        return None

    def claimed(self, lease: Lease, node: str) -> None:
        job = self.jobs[lease.job_id]
        job.state, job.epoch = JobState.RUNNING, job.epoch + 1
        assert lease.epoch == job.epoch
        self.holds.append(Hold(lease, node, job.step))

    def wish(self, hold: Hold) -> Wish:
        desired = self.jobs[hold.lease.job_id].desired
        return Wish.LEAVE if hold.node in self.draining and desired == Desired.RUN else Wish(desired)

    def renewed(self, hold: Hold) -> None:
        hold.stalled = False

    def committed(self, hold: Hold) -> None:
        job = self.jobs[hold.lease.job_id]
        job.step, job.retries = hold.step, 0

    def retries_left(self, hold: Hold) -> bool:
        return self.jobs[hold.lease.job_id].retries < INFRA_ATTEMPTS - 1

    def closed(self, hold: Hold, outcome: Outcome, retry: bool, seated: bool = False) -> None:
        job, hold.open, hold.seated = self.jobs[hold.lease.job_id], False, seated
        if outcome == Outcome.FINISHED:
            job.state = JobState.SUCCEEDED
        elif job.desired == Desired.CANCEL:
            job.state = JobState.CANCELLED
        elif job.desired == Desired.PAUSE and (outcome == Outcome.PREEMPTED or retry):
            job.state = JobState.PAUSED
        elif outcome == Outcome.PREEMPTED:
            job.state = JobState.QUEUED
        elif retry:
            job.state, job.retries = JobState.QUEUED, job.retries + 1
        else:
            job.state = JobState.FAILED

    def cleaned(self, node: str) -> set[tuple[str, int]]:
        """Whose seats end now that nothing of them lives on the node."""
        left = [hold for hold in self.holds if hold.node == node and hold.seated and not hold.open]
        for hold in left:
            hold.seated = False
        return {(hold.lease.job_id, hold.lease.epoch) for hold in left}

    def verb(self, job: RefJob, desired: Desired) -> bool:
        """Whether the user's verb is accepted; then it is done."""
        same = job.desired == desired
        if job.state.terminal:
            return desired == Desired.CANCEL and job.state == JobState.CANCELLED
        if (job.desired == Desired.CANCEL and desired != Desired.CANCEL) or (same and desired == Desired.RUN):
            return False
        if same:
            return True
        job.desired = desired
        if desired == Desired.CANCEL and job.state != JobState.RUNNING:
            job.state = JobState.CANCELLED
        if desired == Desired.PAUSE and job.state == JobState.QUEUED:
            job.state = JobState.PAUSED
        if desired == Desired.RUN and job.state == JobState.PAUSED:
            job.state = JobState.QUEUED
        return True
