"""Bad lines of a large file, told while it is still being sent: the service's own checks by line, in a process beside.

`python -m cli.early` is that process, told its options on stdin: a JSON line for each bad row, and one for the file.
"""

import json
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from core.contract.errors import BadData, BadInput
from preferences.check import check_file
from preferences.faults import USELESS
from preferences.mapping import words_of
from preferences.report import FileError, LineError
from preferences.tally import printable

# A smaller one is sent before the process has begun.
FROM_BYTES = 8 << 20
SHOWN = 10


class Layout(NamedTuple):
    """What the owner says of the file's rows."""

    format: str | None = None
    mapping: dict[str, str | list[str]] | None = None
    raw_text: bool = False

    def words(self) -> list[str]:
        """As on the command line."""
        flags = ["--format", self.format] if self.format else []
        for word in words_of(self.mapping or {}):
            flags += ["--mapping", word]
        return [*flags, *(["--raw-text"] if self.raw_text else [])]


class Doomed(Exception):
    """Nothing but a refusal can come of sending on."""


class Reader(threading.Thread):
    """Prints the first bad lines as they are found."""

    def __init__(self, process: "subprocess.Popen[bytes]", layout: Layout, *, skip: bool) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._layout = layout
        self._skip = skip
        self._told = 0
        self._whole: str | None = None
        self.doomed = False

    def run(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.endswith(b"\n"):
                return  # it was ended in the middle of a word
            said = json.loads(line)
            if "refused" in said:
                self._row(said["refused"])
            elif said["error"]:
                self._whole, self.doomed = said["error"], True

    def _row(self, found: dict[str, Any]) -> None:
        self._told += 1
        if self._told <= SHOWN:
            place = f"line {found['line']}"
            print(f"  {place}: {found['code']}: {printable(found['message'])}", file=sys.stderr, flush=True)
        self.doomed |= not self._skip and found["code"] not in USELESS

    def verdict(self, path: Path) -> BadData:
        """What is wrong with the whole, which is read to its end for it."""
        self.join()
        check = shlex.join(["palate", "check", *self._layout.words(), "--", str(path)])
        return BadData(f"{path} would be refused, and is not sent: {self._whole}\nEvery bad line: {check}")


@contextmanager
def reading(path: Path, layout: Layout, *, skip: bool) -> Iterator[Reader]:
    options = {"path": str(path), "skip": skip, "layout": layout._asdict()}
    with tempfile.TemporaryFile() as asked:
        asked.write(json.dumps(options).encode())
        asked.seek(0)
        process = subprocess.Popen([sys.executable, "-m", "cli.early"], stdin=asked, stdout=subprocess.PIPE)
    with process:
        reader = Reader(process, layout, skip=skip)
        reader.start()
        try:
            yield reader
        finally:
            process.kill()
            reader.join()  # before the pipe is closed under it


def main(options: dict[str, Any]) -> None:
    def say(**words: Any) -> None:
        print(json.dumps(words), flush=True)

    def refused(error: LineError) -> None:
        say(refused=error.model_dump(mode="json"))

    error: FileError | BadInput | None
    try:
        error = check_file(
            Path(options["path"]),
            **options["layout"],
            on_error="skip" if options["skip"] else "fail",
            max_bad_fraction=1.0 if options["skip"] else 0.0,
            checks="none",
            refused=refused,
        ).error
    except BadInput as unfit:
        error = unfit
    say(error=f"{error.code}: {error.message}" if error else None)


if __name__ == "__main__":
    main(json.load(sys.stdin))
