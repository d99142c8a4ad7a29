"""Preference records for tests, decided by the seed, stored as the canonical file that a run reads."""

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path

import zstandard

from core.contract.preference import AnyRecord, Message, Origin, PreferenceRecord
from tests.models import WORDS


def make_records(count: int, seed: int = 0, longest: int = 12) -> list[PreferenceRecord]:
    """Single-turn pairs of 3 to `longest` words an answer."""
    draw = random.Random(seed)

    def words(least: int, most: int) -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(least, most)))

    return [
        PreferenceRecord(
            id=f"pair-{i}",
            prompt=[Message(role="user", content=words(2, 8))],
            chosen=[Message(role="assistant", content=words(3, longest) + " wonderful")],
            rejected=[Message(role="assistant", content=words(3, longest) + " boring")],
            origin=Origin(line=i + 1, format="test"),
        )
        for i in range(count)
    ]


def write_records(path: Path, records: Sequence[AnyRecord]) -> str:
    """Returns the digest: sha256 of the uncompressed lines."""
    lines = "".join(record.model_dump_json(exclude_none=True) + "\n" for record in records).encode()
    path.write_bytes(zstandard.compress(lines))
    return hashlib.sha256(lines).hexdigest()
