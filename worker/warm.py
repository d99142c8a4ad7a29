"""Ranks from this node's warm trainer (trainer.warm), where there is one: seconds sooner than from new processes."""

import logging
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from core import processes, settings, warm
from core.processes import Process
from core.warm import Refused
from worker import spawn

log = logging.getLogger(__name__)
ANSWER_SECONDS = 2.0


class Launched:
    """The launcher of one job, used as a subprocess.Popen is; who ends without a word was killed."""

    def __init__(self, link: socket.socket, process: Process) -> None:
        self._link = link
        self.process = process
        self.pid = process.pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        try:
            return self.wait(0.0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            gone = processes.wait(self.process, 3_600.0 if timeout is None else timeout)
            while not gone and timeout is None:
                gone = processes.wait(self.process, 3_600.0)
            if not gone:
                raise subprocess.TimeoutExpired("warm trainer", timeout or 0.0)
            self.returncode = self._last_word()
        return self.returncode

    def terminate(self) -> None:
        self.process.send(signal.SIGTERM)

    def kill(self) -> None:
        self.process.kill()

    def _last_word(self) -> int:
        with self._link:
            try:
                return int(warm.hear(self._link).get("exit", 1))
            except Refused:
                return -int(signal.SIGKILL)


def launch(
    spec: Path, ranks: int, environment: Mapping[str, str], record: Path, log_path: Path, rules: int | None = None
) -> Launched:
    """Raises Refused; `record` names the launcher before it starts a rank; `rules`: as isolation.ruleset's."""
    path = address(environment)
    link = warm.connect(path, ANSWER_SECONDS)
    try:
        known = {**environment, "PALATE_SUPERVISOR": str(processes.this_process())}
        asked = {"spec": str(spec), "ranks": ranks, "environment": known}
        with log_path.open("ab") as output, path.with_suffix(".lock").open("rb") as lock:
            warm.send(link, asked, lock.fileno(), output.fileno(), *([] if rules is None else [rules]))
            process = processes.parse(warm.hear(link)["launcher"])
        process.sign(record)
        warm.say(link, {"go": True})
    except (OSError, ValueError, KeyError, Refused) as error:
        link.close()
        raise Refused(str(error)) from error
    link.settimeout(ANSWER_SECONDS)
    return Launched(link, process)


def start(environment: Mapping[str, str]) -> None:
    """Returns at once; a second one finds the first and leaves."""
    path = address(environment)
    own = settings.worker()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    known = {**environment, "HOME": str(path.parent), "TMPDIR": str(path.parent)}
    if own.lifeline:
        known["PALATE_LIFELINE"] = own.lifeline
    spawn.detached("trainer", "warm", "--socket", str(path), log=own.scratch / "logs" / "warm.log", environment=known)


def status(environment: Mapping[str, str]) -> dict[str, object]:
    """Raises Refused."""
    with warm.connect(address(environment), ANSWER_SECONDS) as link:
        warm.say(link, {"status": True})
        return warm.hear(link)


def address(environment: Mapping[str, str]) -> Path:
    return settings.worker().scratch / "warm" / f"{warm.name(environment)}.sock"
