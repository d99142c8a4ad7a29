"""States and the moves that are legal between them. Every change of state goes through one of these tables."""

from enum import StrEnum


class JobState(StrEnum):
    """The statuses that pollers of the fine-tuning API know; nothing else is ever shown."""

    VALIDATING_FILES = "validating_files"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})

JOB_MOVES: dict[JobState, frozenset[JobState]] = {
    JobState.VALIDATING_FILES: frozenset({JobState.QUEUED, JobState.FAILED, JobState.CANCELLED}),
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.PAUSED, JobState.CANCELLED}),
    JobState.RUNNING: frozenset(
        {JobState.QUEUED, JobState.PAUSED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}
    ),
    JobState.PAUSED: frozenset({JobState.QUEUED, JobState.FAILED, JobState.CANCELLED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}


class Desired(StrEnum):
    """What the user wants of a job; written by the API alone."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


class Wish(StrEnum):
    """What the holder of an attempt is to do: what the user desires, or leave a node that is drained."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"
    LEAVE = "leave"


class Phase(StrEnum):
    """The finer phase of a job, shown as `palate.phase`."""

    INSPECTING = "inspecting"
    DOWNLOADING = "downloading"
    TOKENIZING = "tokenizing"
    REFERENCE_PASS = "reference_pass"
    TRAINING = "training"
    EVALUATING = "evaluating"
    SAMPLING = "sampling"
    SAVING = "saving"
    EXPORTING = "exporting"
    VERIFYING = "verifying"
    UPLOADING = "uploading"
    PAUSING = "pausing"
    CANCELLING = "cancelling"

    @classmethod
    def towards(cls, wish: Wish) -> "Phase | None":
        """What a running job shows while it stops for this wish."""
        return {Wish.PAUSE: cls.PAUSING, Wish.CANCEL: cls.CANCELLING}.get(wish)


class Outcome(StrEnum):
    """How an attempt ended."""

    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"
    LOST = "lost"
    PREEMPTED = "preempted"


class FailureClass(StrEnum):
    """Decides whether a failed attempt is tried again (docs: ARCHITECTURE.md, failures)."""

    USER = "user"
    NUMERIC = "numeric"
    OOM_GPU = "oom_gpu"
    INFRA = "infra"
    BUG = "bug"
    REFUSED = "refused"
    POISON = "poison"


class FileStatus(StrEnum):
    UPLOADED = "uploaded"
    PROCESSED = "processed"
    ERROR = "error"


class TaskKind(StrEnum):
    VALIDATE_FILE = "validate_file"
    INSPECT = "inspect"
    DELETE_OBJECTS = "delete_objects"
    COLLECT_ORPHANS = "collect_orphans"


class TaskState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
