"""What the owner of a file says about its layout: a format, a mapping, both or nothing; whether its texts are raw."""

from typing import NamedTuple

from core.contract.errors import BadInput
from preferences.faults import FileFault
from preferences.formats import mapped, triple
from preferences.formats.known import BY_NAME, Format
from preferences.mapping import Mapping

# Formats whose own columns have the canonical names, so that others can be renamed to them.
_RENAMED = ("trl_conversational", "trl_implicit", "ultrafeedback_binarized", triple.NAME, "hh_rlhf", "kto")
NOT_TEXTS = "raw_text_not_texts"
_RAW = f"`raw_text` trains on texts as they stand, which format {triple.NAME} has: `prompt`, `chosen`, `rejected`"


class Asked(NamedTuple):
    """`format` null: detected, after the mapping has named what it names. `raw_text`: no chat template is put round
    the texts."""

    format: Format | None
    mapping: Mapping | None
    raw_text: bool = False


def asked_for(format: str | None, mapping: Mapping | None, raw_text: bool = False) -> Asked:
    """Raises BadInput with param `format`, `mapping` or `raw_text`."""
    if format is not None and format not in BY_NAME:
        raise BadInput(f"`{format}` is not a format that is read: {', '.join(BY_NAME)}.", param="format")
    if raw_text:
        _refuse_chats(format, mapping)
    if mapping is None or not mapping.main:
        return Asked(BY_NAME[format] if format else None, mapping, raw_text)
    if format is None:
        kind, read = mapped.reader(mapping)
        return Asked(Format(mapped.NAME, "", lambda row: False, read, kind), mapping, raw_text)
    if format not in _RENAMED:
        raise BadInput(
            f"Format {format} has columns of its own; leave `format` out, or map only what stands beside the answers.",
            param="mapping",
        )
    return Asked(BY_NAME[format], mapping, raw_text)


def as_texts(format: Format) -> Format:
    """The format whose texts stay as they are. Raises FileFault where its rows are not plain texts."""
    if format.name not in (triple.NAME, mapped.NAME):
        raise FileFault(NOT_TEXTS, f"{_RAW}; the rows are {format.name}. Leave `raw_text` out, or write such texts.")
    return format._replace(read=triple.read_raw if format.name == triple.NAME else mapped.raw)


def _refuse_chats(format: str | None, mapping: Mapping | None) -> None:
    if format not in (None, triple.NAME):
        message = f"{_RAW}; format {format} has others. Leave one of the two out."
        raise BadInput(message, code=NOT_TEXTS, param="raw_text")
    if format is None and mapping and mapping.main and mapping.main != set(mapped.TEXTS):
        named = ", ".join(sorted(mapping.main))
        message = f"{_RAW}; the mapping makes {named}. Map these three, or leave `raw_text` out."
        raise BadInput(message, code=NOT_TEXTS, param="raw_text")
