"""Exit codes of the trainer: how a run says, without words, why it ended."""

from enum import IntEnum


class Exit(IntEnum):
    """What the supervisor reads first; the last event in events.jsonl gives the reason in words."""

    DONE = 0
    STOPPED_WITH_RESUME_POINT = 10
    STOPPED = 11
    BAD_SPEC = 64
    BAD_DATA = 65
    BAD_MODEL = 66
    BUG = 70
    DIVERGED = 71
    OUT_OF_GPU_MEMORY = 72
    REFUSED = 73
    INFRASTRUCTURE = 75
