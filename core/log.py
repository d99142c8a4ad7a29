"""Logging, set up once a process: one line a record, time first."""

import logging
import sys


def setup(process: str, level: str = "INFO") -> None:
    logging.basicConfig(
        stream=sys.stderr,
        level=level,
        format=f"%(asctime)s {process} %(levelname)s %(name)s: %(message)s",
        force=True,
    )
