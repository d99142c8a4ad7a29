"""The fields of POST /v1/files beside the file, judged together once the body is whole."""

import difflib
from dataclasses import dataclass
from typing import Any

from api.form import FILE, Form
from core.contract.errors import BadInput
from core.db.files import FINE_TUNE
from preferences.asked import asked_for
from preferences.formats.known import BY_NAME
from preferences.mapping import parse_mapping

EXPIRES = (3_600, 2_592_000)
ANCHOR, SECONDS = "expires_after[anchor]", "expires_after[seconds]"
FORMAT, MAPPING, RAW_TEXT = "palate[format]", "palate[mapping]", "palate[raw_text]"
ON_ERROR, FRACTION = "palate[on_error]", "palate[max_bad_fraction]"
KNOWN = (FILE, "purpose", ANCHOR, SECONDS, FORMAT, MAPPING, RAW_TEXT, ON_ERROR, FRACTION)

FORM_SCHEMA: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FILE, "purpose"],
                "properties": {
                    FILE: {"type": "string", "format": "binary", "description": "At most 8 GiB."},
                    "purpose": {"type": "string", "enum": [FINE_TUNE]},
                    ANCHOR: {"type": "string", "enum": ["created_at"]},
                    SECONDS: {"type": "integer", "minimum": EXPIRES[0], "maximum": EXPIRES[1]},
                    FORMAT: {"type": "string", "enum": ["auto", *BY_NAME]},
                    MAPPING: {
                        "type": "string",
                        "description": 'JSON: field of a record to column or path, as {"prompt": "question"}.',
                    },
                    RAW_TEXT: {
                        "type": "string",
                        "enum": ["true", "false"],
                        "description": "true: train on the texts of a plain_triple as they stand, without the model's "
                        "chat template.",
                    },
                    ON_ERROR: {"type": "string", "enum": ["fail", "skip"]},
                    FRACTION: {"type": "number", "minimum": 0, "maximum": 1},
                },
            }
        }
    },
}


@dataclass(frozen=True)
class Wishes:
    """`options`: what the checks of the file go by: format (absent: detected), mapping, raw_text, on_error,
    max_bad_fraction."""

    purpose: str
    expires_seconds: int | None
    options: dict[str, Any]


def judge(form: Form, received: int) -> Wishes:
    fields = form.fields
    for name in fields:
        if name not in KNOWN:
            near = difflib.get_close_matches(name, KNOWN, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise BadInput(f"Unknown parameter: '{name}'.{hint}", code="unknown_parameter", param=name)
    if form.filename is None:
        raise _missing(FILE)
    if "purpose" not in fields:
        raise _missing("purpose")
    if fields["purpose"] != FINE_TUNE:
        raise BadInput(f"'purpose' must be '{FINE_TUNE}'.", param="purpose")
    if not received:
        raise BadInput("The file is empty.", code="empty_file", param=FILE)
    asked = _layout(fields) | {"on_error": _on_error(fields), "max_bad_fraction": _fraction(fields)}
    options = {name: value for name, value in asked.items() if value is not None}
    return Wishes(fields["purpose"], _expires(fields), options)


def _expires(fields: dict[str, str]) -> int | None:
    if ANCHOR not in fields and SECONDS not in fields:
        return None
    if fields.get(ANCHOR) != "created_at":
        raise BadInput(f"'{ANCHOR}' must be 'created_at'.", param=ANCHOR)
    seconds = fields.get(SECONDS, "")
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) < 10):
        raise BadInput(f"'{SECONDS}' must be an integer.", code="invalid_type", param=SECONDS)
    least, most = EXPIRES
    if not least <= int(seconds) <= most:
        raise BadInput(f"'{SECONDS}' must be from {least} to {most}.", code="out_of_range", param=SECONDS)
    return int(seconds)


def _layout(fields: dict[str, str]) -> dict[str, Any]:
    """Format, mapping and raw_text, which also have to suit each other."""
    name, raw_text = _format(fields), _raw_text(fields)
    try:
        mapping = parse_mapping(fields.get(MAPPING))
        asked_for(name, mapping, raw_text)
    except BadInput as error:
        param = RAW_TEXT if error.param == "raw_text" else MAPPING
        raise BadInput(error.message, code=error.code, param=param) from None
    return {"format": name, "mapping": mapping.fields if mapping else None, "raw_text": raw_text or None}


def _format(fields: dict[str, str]) -> str | None:
    name = fields.get(FORMAT, "auto")
    if name != "auto" and name not in BY_NAME:
        raise BadInput(f"'{FORMAT}' must be auto or one of {', '.join(BY_NAME)}.", param=FORMAT)
    return None if name == "auto" else name


def _raw_text(fields: dict[str, str]) -> bool:
    wish = fields.get(RAW_TEXT, "false")
    if wish not in ("true", "false"):
        raise BadInput(f"'{RAW_TEXT}' must be 'true' or 'false'.", param=RAW_TEXT)
    return wish == "true"


def _on_error(fields: dict[str, str]) -> str:
    wish = fields.get(ON_ERROR, "fail")
    if wish not in ("fail", "skip"):
        raise BadInput(f"'{ON_ERROR}' must be 'fail' or 'skip'.", param=ON_ERROR)
    return wish


def _fraction(fields: dict[str, str]) -> float:
    text = fields.get(FRACTION, "0")
    try:
        fraction = float(text)
    except ValueError:
        raise BadInput(f"'{FRACTION}' must be a number.", code="invalid_type", param=FRACTION) from None
    if not 0 <= fraction <= 1:
        raise BadInput(f"'{FRACTION}' must be from 0 to 1.", code="out_of_range", param=FRACTION)
    return fraction


def _missing(name: str) -> BadInput:
    return BadInput(f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name)
