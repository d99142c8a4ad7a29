"""File, and what is wrong with one by line."""

from typing import Any, Literal, Self

from pydantic import BaseModel

from api.schemas.listing import Item
from api.schemas.moment import unix, unix_or_none
from core.contract.preview import Preview
from core.db import tables
from preferences.report import FileError as Fault


class File(Item):
    """`status` stays `uploaded` until the checks end; then `processed`, or `error` with `status_details`."""

    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    status: str
    status_details: str | None

    @classmethod
    def of(cls, row: tables.File) -> Self:
        return cls(
            id=row.id,
            bytes=row.bytes,
            created_at=unix(row.created_at),
            expires_at=unix_or_none(row.expires_at),
            filename=row.filename,
            purpose=row.purpose,
            status=row.status,
            status_details=row.status_details,
        )


class FilePreview(BaseModel):
    """Some records as a trainer will see them; `error`: why no job can be made of this file with this model."""

    object: Literal["file.preview"] = "file.preview"
    file_id: str
    model: str
    loss: str
    max_length: int
    data: list[Preview]
    has_more: bool
    error: Fault | None


class FileError(Item):
    """One row that was not taken; `id` is its number in the report, from 1."""

    object: Literal["file.error"] = "file.error"
    line: int | None
    column: int | None
    path: str | None
    code: str
    message: str
    hint: str | None
    excerpt: str | None

    @classmethod
    def of(cls, number: int, found: dict[str, Any]) -> Self:
        words = {name: found.get(name) for name in ("line", "column", "path", "code", "message", "hint", "excerpt")}
        return cls.model_validate({"id": str(number), **words})
