"""Times as the wire has them: whole unix seconds."""

from datetime import datetime


def unix(at: datetime) -> int:
    return int(at.timestamp())


def unix_or_none(at: datetime | None) -> int | None:
    return None if at is None else unix(at)
