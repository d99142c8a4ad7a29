"""Model, and the manifest of its files."""

from typing import Literal, Self

from pydantic import BaseModel

from api.schemas.listing import Item
from api.schemas.moment import unix
from core.contract.manifest import FileEntry, Manifest
from core.db import tables

OPERATOR = "palate"


class Model(Item):
    """`owned_by` is the project's id, or `palate` for a base model of all projects."""

    object: Literal["model"] = "model"
    created: int
    owned_by: str

    @classmethod
    def of(cls, row: tables.Model) -> Self:
        return cls(id=row.name, created=unix(row.created_at), owned_by=row.project_id or OPERATOR)


class ModelFiles(BaseModel):
    """GET each one at /v1/models/{model}/files/{path}; `digest` names the whole content."""

    object: Literal["list"] = "list"
    model: str
    digest: str
    data: list[FileEntry]
    has_more: Literal[False] = False

    @classmethod
    def of(cls, row: tables.Model) -> Self:
        return cls(model=row.name, digest=row.digest, data=Manifest.model_validate(row.manifest).files)
