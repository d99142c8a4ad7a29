"""The only place where the keys of stored objects are spelled."""

import re


def file(file_id: str) -> str:
    """The bytes of a file, as they were sent."""
    return f"files/{file_id}"


def canonical(digest: str) -> str:
    """Preference data in the canonical form, by the digest of its content."""
    return f"canonical/{digest}.jsonl.zst"


def model(digest: str) -> str:
    """The folder of a base model, by the digest of its manifest."""
    return f"models/{digest}/"


def job(job_id: str) -> str:
    return f"jobs/{job_id}/"


def attempt(job_id: str, epoch: int) -> str:
    """All that one attempt writes: a later epoch never writes here, so a zombie cannot spoil its successor."""
    return f"{job(job_id)}a{epoch}/"


def attempt_of(key: str) -> tuple[str, int] | None:
    """(job id, epoch) of an object that an attempt wrote."""
    found = re.match(r"jobs/([^/]+)/a(\d+)/", key)
    return (found[1], int(found[2])) if found else None


def checkpoint(job_id: str, epoch: int, step: int) -> str:
    return f"{attempt(job_id, epoch)}checkpoints/step-{step}/"


def resume_point(job_id: str, epoch: int, step: int) -> str:
    return f"{attempt(job_id, epoch)}resume/step-{step}/"


def reference_entry(job_id: str, epoch: int, number: int) -> str:
    """Log-probabilities under a reference that this attempt computed, for later jobs of its project."""
    return f"{attempt(job_id, epoch)}reference/{number}.safetensors"


def logs(job_id: str, epoch: int) -> str:
    return f"{attempt(job_id, epoch)}logs/"


def log(job_id: str, epoch: int, rank: int, part: int | None = None) -> str:
    """A rank's log; `part` counts the rotated pieces before the last."""
    return f"{logs(job_id, epoch)}rank-{rank}" + (".log" if part is None else f".{part}.log")


def result_file(job_id: str, epoch: int, name: str) -> str:
    return f"{attempt(job_id, epoch)}result_files/{name}"
