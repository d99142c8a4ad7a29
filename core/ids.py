"""Ids that people see: a prefix that says what it is, and 24 random characters."""

import secrets

ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


def new(prefix: str, length: int = 24) -> str:
    return prefix + "".join(secrets.choice(ALPHABET) for _ in range(length))


def file_id() -> str:
    return new("file-")


def job_id() -> str:
    return new("ftjob-")


def event_id() -> str:
    return new("ftevent-")


def checkpoint_id() -> str:
    return new("ftckpt_")


def row_id() -> str:
    """For rows that nobody outside sees."""
    return new("")
