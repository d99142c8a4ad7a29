"""Records of one prompt belong together: what is held out and what is cross-validated never shares a prompt."""

import hashlib
import unicodedata

from core.contract.preference import Record


def group_of(record: Record) -> str:
    """What must stay together: the record's own group, else its prompt, case and white space folded. 128 bits."""
    said = [record.group] if record.group is not None else [f"{m.role} {m.content}" for m in record.prompt]
    folded = [" ".join(unicodedata.normalize("NFC", text).casefold().split()) for text in said]
    return hashlib.sha256("\0".join([str(record.group is None), *folded]).encode()).hexdigest()[:32]
