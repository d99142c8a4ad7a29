"""What the owner of a file says about its layout: a format, a mapping, both or nothing."""

from typing import NamedTuple

from core.contract.errors import BadInput
from preferences.formats import mapped
from preferences.formats.known import BY_NAME, Format
from preferences.mapping import Mapping

# Formats whose own columns have the canonical names, so that others can be renamed to them.
_RENAMED = ("trl_conversational", "trl_implicit", "ultrafeedback_binarized", "plain_triple", "hh_rlhf", "kto")


class Asked(NamedTuple):
    """`format` null: detected, after the mapping has named what it names."""

    format: Format | None
    mapping: Mapping | None


def asked_for(format: str | None, mapping: Mapping | None) -> Asked:
    """Raises BadInput with param `format` or `mapping`."""
    if format is not None and format not in BY_NAME:
        raise BadInput(f"`{format}` is not a format that is read: {', '.join(BY_NAME)}.", param="format")
    if mapping is None or not mapping.main:
        return Asked(BY_NAME[format] if format else None, mapping)
    if format is None:
        kind, read = mapped.reader(mapping)
        return Asked(Format(mapped.NAME, "", lambda row: False, read, kind), mapping)
    if format not in _RENAMED:
        raise BadInput(
            f"Format {format} has columns of its own; leave `format` out, or map only what stands beside the answers.",
            param="mapping",
        )
    return Asked(BY_NAME[format], mapping)
