"""The only place where the keys of stored objects are spelled."""


def file(file_id: str) -> str:
    """The bytes of a file, as they were sent."""
    return f"files/{file_id}"


def upload_part(upload_id: str, part_id: str) -> str:
    """One part of an Upload, until `complete` makes them one file."""
    return f"uploads/{upload_id}/{part_id}"


def upload(upload_id: str) -> str:
    return f"uploads/{upload_id}/"


def canonical(digest: str) -> str:
    """Preference data in the canonical form, by the digest of its content."""
    return f"canonical/{digest}.jsonl.zst"


def inspection(key: str) -> str:
    return f"inspections/{key}.json"


def model(digest: str) -> str:
    """The folder of a base model, by the digest of its manifest."""
    return f"models/{digest}/"


def model_file(digest: str, path: str) -> str:
    return model(digest) + path


def job(job_id: str) -> str:
    return f"jobs/{job_id}/"


def attempt(job_id: str, epoch: int) -> str:
    """All that one attempt writes: a later epoch never writes here, so a zombie cannot spoil its successor."""
    return f"{job(job_id)}a{epoch}/"


def checkpoint(job_id: str, epoch: int, step: int) -> str:
    return f"{attempt(job_id, epoch)}checkpoints/step-{step}/"


def checkpoint_file(job_id: str, epoch: int, step: int, path: str) -> str:
    return checkpoint(job_id, epoch, step) + path


def resume_point(job_id: str, epoch: int, step: int) -> str:
    return f"{attempt(job_id, epoch)}resume/step-{step}/"


def resume_file(job_id: str, epoch: int, step: int, path: str) -> str:
    return resume_point(job_id, epoch, step) + path


def logs(job_id: str, epoch: int) -> str:
    return f"{attempt(job_id, epoch)}logs/"


def log(job_id: str, epoch: int, rank: int, part: int | None = None) -> str:
    """A rank's log; `part` counts the rotated pieces before the last."""
    return f"{logs(job_id, epoch)}rank-{rank}" + (".log" if part is None else f".{part}.log")


def result_file(job_id: str, epoch: int, name: str) -> str:
    return f"{attempt(job_id, epoch)}result_files/{name}"


def reference(digest: str) -> str:
    """Cached log-probabilities of the reference model, by what decides them."""
    return f"references/{digest}.bin"
