"""What a trainer that was taken over gets of its node, with and without isolation: `python -m tests.taken_over`.

With `--home` one run, as a worker makes it, whose answers are printed as JSON; without, the table of docs/isolation.md
for this kernel, by runs as the user that starts it and, where that is root, as uid 65534.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from core import landlock, settings
from core.contract.run_spec import RunSpec, Settings
from worker import launcher
from worker.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
NOBODY = 65_534
MODES = ("auto", "off")


def run(home: Path, isolation: str, uid: int | None, ports: Mapping[str, int]) -> dict[str, str]:
    """In a process of that user, which is the worker; `home` is new, and becomes its."""
    home.mkdir()
    home.chmod(0o755)
    known = {name: value for name, value in os.environ.items() if not name.startswith(("PALATE_", "COVERAGE_"))}
    known |= {"SECRET": "of the service", "PALATE_ISOLATION": isolation, "PALATE_SCRATCH": str(home / "scratch")}
    known |= {"PALATE_TRAINER_COMMAND": f"{python_for(uid)} {ROOT}/tests/taken_trainer.py --spec {{spec}}"}
    asked = ["--home", str(home), "--ports", json.dumps(ports)]
    if uid is not None:
        os.chown(home, uid, uid)
        asked += ["--uid", str(uid)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.taken_over", *asked],
        cwd=ROOT,
        env=known,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def python_for(uid: int | None) -> str:
    """Ours, or the system's where that user cannot reach ours: the trainer that was taken over needs no more."""
    if uid is None:
        return sys.executable
    for path in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            subprocess.run([path, "-S", "-c", ""], user=uid, group=uid, extra_groups=[], check=True)
            return path
    raise NoPython(f"uid {uid} can start no Python on this machine")


class NoPython(Exception):
    pass


def become(uid: int) -> None:
    """What was imported as root stays. A worker that was started as this user would be as open as this one is then."""
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    assert landlock._libc is not None
    landlock._libc.prctl(landlock.PR_SET_DUMPABLE, 1, 0, 0, 0)


def as_worker(home: Path, ports: dict[str, int]) -> dict[str, str]:
    for folder in ("cache/canonical", "cache/models/own", "cache/models/other", "scratch/attempts/other/a1"):
        (home / folder).mkdir(parents=True)
    for name in ("secrets.json", "cache/canonical/own", "cache/canonical/other", "cache/models/own/config.json"):
        (home / name).write_text("SECRET")
    for name in ("cache/models/other/config.json", "scratch/attempts/other/a1/model"):
        (home / name).write_text("SECRET")
    space = Workspace(home / "scratch" / "attempts" / "mine" / "a1")
    for folder in ("ranks", "logs"):
        (space.path / folder).mkdir(parents=True)
    shared = Path("/dev/shm") / f"palate-{uuid.uuid4().hex}"
    with contextlib.ExitStack() as held:
        shared.write_text("SECRET")
        held.callback(shared.unlink)
        abstract, named = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        for listener, address in ((abstract, f"\0{home}"), (named, str(home / "named"))):
            held.enter_context(listener).bind(address)
            listener.listen(1)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        waiting = ["/bin/sh", "-c", "echo; read line"]
        api = held.enter_context(subprocess.Popen(waiting, **pipes))  # type: ignore[call-overload]
        held.callback(api.send_signal, signal.SIGKILL)
        api.stdout.readline()
        target = {"worker": os.getpid(), "api": api.pid, "home": str(home), "shared": str(shared)}
        spec = RunSpec(
            run_id="taken",
            workspace=space.path,
            model_dir=home / "cache" / "models" / "own",
            model_digest="own",
            train_data=home / "cache" / "canonical" / "own",
            train_digest="own",
            settings=Settings(),
            probe_prompts=[json.dumps({**target, **ports, "abstract": str(home)})],
        )
        space.spec.write_text(spec.model_dump_json())
        settings.worker.cache_clear()
        process = launcher.cold(space, 1)
        code = process.wait(50)
    tried = space.path / "logs" / "tried.json"
    if code or not tried.exists():
        raise SystemExit((space.path / "logs" / "launcher.log").read_text())
    found: dict[str, str] = json.loads(tried.read_text())
    return found


@contextlib.contextmanager
def listening(*names: str) -> Iterator[dict[str, int]]:
    """Servers that accept, below the ports that the kernel chooses, and a port there that is free."""
    with contextlib.ExitStack() as held:
        ports, candidate = {}, 15_000
        while len(ports) < len(names) + 1:
            candidate += 1
            server = socket.socket()
            try:
                server.bind(("127.0.0.1", candidate))
            except OSError:
                server.close()
                continue
            if len(ports) == len(names):
                server.close()
                ports["free"] = candidate
            else:
                held.enter_context(server).listen(16)
                ports[names[len(ports)]] = candidate
        yield ports


def users() -> dict[str, int | None]:
    return {"root": None, f"uid {NOBODY}": NOBODY} if os.getuid() == 0 else {f"uid {os.getuid()}": None}


def table() -> str:
    found: dict[str, dict[str, str]] = {}
    folder = Path(tempfile.mkdtemp(prefix="palate-"))
    folder.chmod(0o755)
    try:
        with listening("postgres", "valkey", "store", "foreign") as ports:
            for mode in MODES:
                for user, uid in users().items():
                    name = f"{user}, {'isolated' if mode == 'auto' else 'not isolated'}"
                    found[name] = run(folder / str(len(found)), mode, uid, ports)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    tried = next(iter(found.values()))
    lines = ["| it tries | " + " | ".join(found) + " |", "|---" * (len(found) + 1) + "|"]
    lines += [f"| {each} | " + " | ".join(answers[each] for answers in found.values()) + " |" for each in tried]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path)
    parser.add_argument("--ports", type=json.loads)
    parser.add_argument("--uid", type=int)
    asked = parser.parse_args()
    if asked.home is not None:
        if asked.uid is not None:
            become(asked.uid)
        print(json.dumps(as_worker(asked.home, asked.ports)))
    else:
        print(f"Landlock ABI {landlock.abi()}, Linux {os.uname().release}\n\n{table()}")


if __name__ == "__main__":
    main()
