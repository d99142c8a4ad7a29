"""What GET /v1/files/{id}/report answers: the report of a file, or that there is none yet."""

from typing import Any, Literal

from pydantic import BaseModel, create_model

from core.contract.states import FileStatus
from preferences.report import Report


class FileReport(Report):
    file_id: str
    status: FileStatus


class Unchecked(BaseModel):
    """Its checks have not ended, or could not: each word of a report, and null."""

    object: Literal["file.report"] = "file.report"
    file: str
    file_id: str
    status: FileStatus


_NULL: dict[str, Any] = {name: (None, None) for name in Report.model_fields if name not in Unchecked.model_fields}
UncheckedReport = create_model("UncheckedReport", __base__=Unchecked, **_NULL)


class Computing(BaseModel):
    """Of a report or preview that is under way."""

    object: Literal["file.report", "file.preview"]
    file_id: str
    status: Literal["computing"] = "computing"
    message: str


class PlanComputing(BaseModel):
    object: Literal["fine_tuning.plan"] = "fine_tuning.plan"
    status: Literal["computing"] = "computing"
    message: str
