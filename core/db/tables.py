"""Every table and index, and nothing else."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import NOW
from core.db.base import Table as Table
from core.db.tables_of_work import Node as Node
from core.db.tables_of_work import Task as Task


class Project(Table):
    __tablename__ = "projects"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    max_running: Mapped[int | None] = mapped_column(Integer)
    max_queued: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Key(Table):
    """`secret_sha256` is all that is kept of a key's secret."""

    __tablename__ = "keys"
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    name: Mapped[str | None]
    secret_sha256: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    revoked_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class File(Table):
    """An uploaded preference file; its row commits after its bytes are in the store."""

    __tablename__ = "files"
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    filename: Mapped[str]
    purpose: Mapped[str]
    bytes: Mapped[int]
    sha256: Mapped[str]
    object_key: Mapped[str]
    status: Mapped[str]
    status_details: Mapped[str | None]
    error_code: Mapped[str | None]
    options: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    report: Mapped[dict[str, Any] | None]
    canonical_digest: Mapped[str | None] = mapped_column(index=True)
    pairs: Mapped[int | None]
    data_kind: Mapped[str | None]
    data_columns: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime | None] = mapped_column(index=True)
    deleted_at: Mapped[datetime | None]
    __table_args__ = (Index("ix_files_list", "project_id", "created_at", "id"),)


class BadLine(Table):
    """One that was not taken; `line` is its LineError as JSON, `number` its place in the file's list, from 1."""

    __tablename__ = "bad_lines"
    file_id: Mapped[str] = mapped_column(ForeignKey("files.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    code: Mapped[str]
    line: Mapped[str]


class Intake(Table):
    """An upload under way: committed before its first part, deleted in the File's transaction."""

    __tablename__ = "intakes"
    file_id: Mapped[str] = mapped_column(primary_key=True)
    object_key: Mapped[str]
    store_upload_id: Mapped[str]
    seen_at: Mapped[datetime] = mapped_column(server_default=NOW, index=True)


class Model(Table):
    """A base model's revision, a finished model, or a checkpoint: files under `prefix`, content named by `digest`."""

    __tablename__ = "models"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    project_id: Mapped[str | None] = mapped_column(ForeignKey("projects.id"))
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", use_alter=True), index=True)
    base_model: Mapped[str | None]
    digest: Mapped[str]
    prefix: Mapped[str]
    manifest: Mapped[dict[str, Any]]
    facts: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    deleted_at: Mapped[datetime | None]
    __table_args__ = (Index("ix_models_name", "name", "created_at"),)


class Job(Table):
    """`state` is written only by core/db/jobs.py; `version` rises with each visible change."""

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    key_id: Mapped[str | None] = mapped_column(ForeignKey("keys.id"))
    spec: Mapped[dict[str, Any]]
    metadata_: Mapped[dict[str, Any] | None] = mapped_column("metadata")
    seed: Mapped[int]
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"), index=True)
    training_file: Mapped[str] = mapped_column(ForeignKey("files.id"), index=True)
    validation_file: Mapped[str | None] = mapped_column(ForeignKey("files.id"), index=True)
    training_digest: Mapped[str | None] = mapped_column(index=True)
    validation_digest: Mapped[str | None]
    ranks: Mapped[int] = mapped_column(Integer)
    priority: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    state: Mapped[str]
    desired: Mapped[str] = mapped_column(server_default=text("'run'"))
    phase: Mapped[str | None]
    progress: Mapped[dict[str, Any] | None]
    resolved: Mapped[dict[str, Any] | None]
    data: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    trained_tokens: Mapped[int | None]
    fine_tuned_model: Mapped[str | None]
    result_files: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    version: Mapped[int] = mapped_column(server_default=text("1"))
    last_seq: Mapped[int] = mapped_column(server_default=text("0"))
    epoch: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    retries: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    halvings: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    run_after: Mapped[datetime] = mapped_column(server_default=NOW)
    body_sha256: Mapped[str]
    retry_count: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    finished_at: Mapped[datetime | None]
    __table_args__ = (
        Index("ix_jobs_list", "project_id", "created_at", "id"),
        Index("ix_jobs_replay", "key_id", "body_sha256", "created_at"),
        Index("ix_jobs_queue", "priority", "created_at", "id", postgresql_where=text("state = 'queued'")),
        Index(
            "ix_jobs_turn",
            "project_id",
            text("priority DESC"),
            "created_at",
            "id",
            postgresql_where=text("state = 'queued'"),
        ),
        Index("ix_jobs_running", "project_id", postgresql_where=text("state = 'running'")),
        Index("ix_jobs_open", "state", postgresql_where=text("finished_at IS NULL")),
        CheckConstraint(
            "state IN ('validating_files','queued','running','paused','succeeded','failed','cancelled')", name="state"
        ),
    )


class IdempotencyKey(Table):
    __tablename__ = "idempotency_keys"
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    body_sha256: Mapped[str]
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW, index=True)


class Attempt(Table):
    """One try at a job by one holder; open until `ended_at`, whatever its clock says. Its devices are its seats'."""

    __tablename__ = "attempts"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    epoch: Mapped[int] = mapped_column(Integer, primary_key=True)
    node: Mapped[str]
    owner: Mapped[str]
    slots: Mapped[int] = mapped_column(Integer)
    lease_until: Mapped[datetime]
    started_at: Mapped[datetime] = mapped_column(server_default=NOW)
    ended_at: Mapped[datetime | None]
    resumed_from_step: Mapped[int | None]
    step: Mapped[int | None]
    outcome: Mapped[str | None]
    failure_class: Mapped[str | None]
    exit_code: Mapped[int | None] = mapped_column(Integer)
    detail: Mapped[str | None]
    __table_args__ = (
        Index("uq_attempts_open", "job_id", unique=True, postgresql_where=text("ended_at IS NULL")),
        Index("ix_attempts_node", "node", postgresql_where=text("ended_at IS NULL")),
    )


class Seat(Table):
    """One node's part of an attempt. Open (`ended_at` null) = its devices are in use, whatever became of the attempt.

    devices: by UUID, in the order of the node's local ranks; `cpu0`, `cpu1`, ... where there are no GPUs.
    """

    __tablename__ = "seats"
    job_id: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(Integer, primary_key=True)
    node_rank: Mapped[int] = mapped_column(Integer, primary_key=True)
    node: Mapped[str]
    devices: Mapped[list[str]]
    opened_at: Mapped[datetime] = mapped_column(server_default=NOW)
    ended_at: Mapped[datetime | None]
    failed_device: Mapped[str | None]
    failed_at: Mapped[datetime | None]
    __table_args__ = (
        Index("ix_seats_failed", "failed_at", postgresql_where=text("failed_device IS NOT NULL")),
        ForeignKeyConstraint(["job_id", "epoch"], ["attempts.job_id", "attempts.epoch"]),
        Index("ix_seats_node", "node", postgresql_where=text("ended_at IS NULL")),
    )


class SeatDevice(Table):
    """A device that an open seat holds: the net below every claim."""

    __tablename__ = "seat_devices"
    node: Mapped[str] = mapped_column(primary_key=True)
    device: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str]
    epoch: Mapped[int] = mapped_column(Integer)
    node_rank: Mapped[int] = mapped_column(Integer)
    __table_args__ = (
        ForeignKeyConstraint(["job_id", "epoch", "node_rank"], ["seats.job_id", "seats.epoch", "seats.node_rank"]),
        Index("ix_seat_devices_seat", "job_id", "epoch", "node_rank"),
    )


class RankLog(Table):
    """The last 64 KiB that a rank wrote."""

    __tablename__ = "rank_logs"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    epoch: Mapped[int] = mapped_column(Integer, primary_key=True)
    rank: Mapped[int] = mapped_column(Integer, primary_key=True)
    tail: Mapped[str]
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Event(Table):
    """Append-only; `seq` is contiguous within a job, and its order is the order of commits."""

    __tablename__ = "events"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    level: Mapped[str]
    type: Mapped[str]
    message: Mapped[str]
    data: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Metric(Table):
    """The figures of one step; `split` is train or eval."""

    __tablename__ = "metrics"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    step: Mapped[int] = mapped_column(Integer, primary_key=True)
    split: Mapped[str] = mapped_column(primary_key=True)
    figures: Mapped[dict[str, Any]]


class Checkpoint(Table):
    """`proof`: of the last one of a job under way, what it is verified by (trainer.proof); null with the others."""

    __tablename__ = "checkpoints"
    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"), index=True)
    epoch: Mapped[int] = mapped_column(Integer)
    step: Mapped[int] = mapped_column(Integer)
    metrics: Mapped[dict[str, Any]]
    proof: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    __table_args__ = (UniqueConstraint("job_id", "step"),)


class ResumePoint(Table):
    """DeepSpeed's shards and the cursor; internal. Nothing is unpickled whose sha256 is not in `manifest`."""

    __tablename__ = "resume_points"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    step: Mapped[int] = mapped_column(Integer, primary_key=True)
    epoch: Mapped[int] = mapped_column(Integer, primary_key=True)
    prefix: Mapped[str]
    manifest: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Inspection(Table):
    """Key: project + file digest + model digest + max_length + truncation + loss (one for all that compare pairs)."""

    __tablename__ = "inspections"
    key: Mapped[str] = mapped_column(primary_key=True)
    result: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class ReferenceEntry(Table):
    """Log-probabilities under a reference: an object, found by `key` (weights, dtype, scorer version)."""

    __tablename__ = "reference_entries"
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    key: Mapped[str]
    data_digest: Mapped[str]
    object_key: Mapped[str]
    bytes: Mapped[int]
    sha256: Mapped[str]
    sequences: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    __table_args__ = (Index("ix_reference_entries_found", "project_id", "key", "created_at"),)
