"""Reading the trainer's events as they are written: from an offset, a torn last line waits."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from core import beneath
from core.contract.trainer_events import KINDS, AnyEvent, Warned, parse_event

log = logging.getLogger(__name__)
READ_BYTES = 1 << 20


class Follower:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read(self) -> list[AnyEvent]:
        """What came since the last call; a line that cannot be read is one warning, a kind unknown here is nothing."""
        try:
            with beneath.open_file(self._path.parent, self._path.name) as stream:
                stream.seek(self._offset)
                chunk = stream.read(READ_BYTES)
        except FileNotFoundError:
            return []
        whole = chunk[: chunk.rfind(b"\n") + 1]
        if not whole and len(chunk) == READ_BYTES:
            whole = chunk  # no event is so long: what is unreadable here must not hide what comes behind it
        self._offset += len(whole)
        events = [self._parse(line) for line in whole.splitlines() if line.strip()]
        return [event for event in events if event is not None]

    def rest(self) -> Iterator[AnyEvent]:
        """All that is left, once nobody writes any more."""
        before = -1
        while before < self._offset:
            before = self._offset
            yield from self.read()

    def _parse(self, line: bytes) -> AnyEvent | None:
        try:
            # A model may write U+0000, which Postgres keeps in no text.
            raw = json.loads(line.replace(rb"\u0000", rb"\ufffd"))
            if isinstance(raw, dict) and raw.get("event") not in KINDS and "event" in raw:
                return None
            return parse_event.validate_python(raw)
        except (ValueError, ValidationError) as error:
            log.warning("unreadable trainer event: %r", line[:500])
            return Warned(time=0.0, code="event_unreadable", message=f"An event of the trainer is unreadable: {error}")
