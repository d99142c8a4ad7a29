"""A trainer that was taken over: it tries to reach what is not its job's, and writes down what it got.

Nothing of ours is imported: whoever runs code in a trainer brings his own. The targets come as JSON in the first probe
prompt, the answers lie in the workspace's logs/tried.json: by attempt, `got`, or the error's name.
"""

import ctypes
import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE = 0x4206
NEW_USER_NAMESPACE = 0x10000000


def main(spec: Path) -> int:
    asked = json.loads(spec.read_bytes())
    target: dict[str, Any] = json.loads(asked["probe_prompts"][0])
    workspace = Path(asked["workspace"])
    found = {name: outcome(attempt) for name, attempt in attempts(target, workspace, asked).items()}
    (workspace / "logs" / "tried.json").write_text(json.dumps(found))
    return 0


def attempts(target: dict[str, Any], workspace: Path, asked: dict[str, Any]) -> dict[str, Callable[[], object]]:
    worker, api, folder = int(target["worker"]), int(target["api"]), Path(target["home"])
    secret, others = folder / "secrets.json", folder / "scratch" / "attempts" / "other" / "a1"
    return {
        "the worker's environment": lambda: environ(worker),
        "the API's environment": lambda: environ(api),
        "the worker's memory": lambda: Path(f"/proc/{worker}/mem").open("rb").close(),
        "the API's memory, by ptrace": lambda: trace(api),
        "the worker's open files, by /proc": lambda: os.readlink(f"/proc/{worker}/fd/1"),
        "a signal to the worker": lambda: os.kill(worker, 0),
        "a signal to the API, by a child": lambda: child("import os, sys; os.kill(int(sys.argv[1]), 0)", str(api)),
        "secrets.json": secret.read_bytes,
        "secrets.json, by a child": lambda: child("import sys; open(sys.argv[1]).read()", str(secret)),
        "secrets.json, by a link in the workspace": lambda: by_link(workspace / "logs" / "link", secret),
        "secrets.json, by a second name in the workspace": lambda: os.link(secret, workspace / "logs" / "second"),
        "secrets.json, cut short": lambda: os.truncate(secret, 0),
        "another job's workspace": (others / "model").read_bytes,
        "another job's workspace, to write": lambda: (others / "events.jsonl").open("a").close(),
        "another job's workspace, moved here": lambda: (others / "model").rename(workspace / "logs" / "model"),
        "the canonical data of others": (folder / "cache" / "canonical" / "other").read_bytes,
        "a model that is not the job's": (folder / "cache" / "models" / "other" / "config.json").read_bytes,
        "a new file beside the workspaces": lambda: (folder / "scratch" / "new").write_text(""),
        "a new file in /tmp": lambda: Path("/tmp", f"palate-{os.getpid()}").touch(),
        "who ends which process (launcher.json)": lambda: (workspace / "launcher.json").open("a").close(),
        "what was asked of it (run.json)": lambda: (workspace / "run.json").open("a").close(),
        "PostgreSQL": lambda: connect(target["postgres"]),
        "Valkey": lambda: connect(target["valkey"]),
        "the store": lambda: connect(target["store"]),
        "a port of somebody else": lambda: connect(target["foreign"]),
        "to listen at a port of its choice": lambda: listen(target["free"]),
        "an abstract socket of the worker": lambda: abstract(target["abstract"]),
        # What stays open, and is said so.
        "(left) a namespace of its own": namespace,
        "(left) the names of processes": lambda: Path(f"/proc/{worker}/cmdline").read_bytes(),
        "(left) a datagram (UDP)": lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"", ("127.0.0.1", 9)),
        "(left) a socket with a name in the file system": lambda: named(folder / "named"),
        "(left) what other jobs keep in /dev/shm": Path(target["shared"]).read_bytes,
        "(left) what other jobs compiled": lambda: fill(Path(os.environ["TRITON_CACHE_DIR"])),
        # What it needs.
        "(needed) its model": (Path(asked["model_dir"]) / "config.json").read_bytes,
        "(needed) its data": Path(asked["train_data"]).read_bytes,
        "(needed) its workspace, to write": lambda: fill(workspace / "checkpoints"),
        "(needed) its events": lambda: (workspace / "events.jsonl").open("a").close(),
        "(needed) a name for what is sealed": lambda: seal(workspace),
        "(needed) a program of the system": lambda: subprocess.run(["/bin/sh", "-c", ":"], check=True),
        "(needed) a folder for what passes": lambda: (Path(os.environ["TMPDIR"]) / "new").write_text(""),
        "(needed) to listen where the kernel chooses": lambda: listen(0),
    }


def outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    except subprocess.CalledProcessError as error:
        return "EACCES" if b"PermissionError" in (error.stderr or b"") else str(error)
    return "got"


def environ(pid: int) -> None:
    assert b"SECRET" in Path(f"/proc/{pid}/environ").read_bytes()


def trace(pid: int) -> None:
    """The kernel lets it go when this process ends."""
    if LIBC.ptrace(PTRACE_SEIZE, pid, None, None):
        raise OSError(ctypes.get_errno(), "ptrace")


def namespace() -> None:
    pid = os.fork()
    if not pid:
        os._exit(ctypes.get_errno() if LIBC.unshare(NEW_USER_NAMESPACE) else 0)
    if code := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise OSError(code, "unshare")


def child(code: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-S", "-E", "-c", code, *arguments], check=True, capture_output=True)


def fill(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "new").write_text("")


def by_link(link: Path, secret: Path) -> None:
    link.symlink_to(secret)
    link.read_bytes()


def seal(workspace: Path) -> None:
    """As the trainer does: renamed in its folder, and under a second name in another."""
    (workspace / "checkpoints" / "step.tmp").mkdir(parents=True)
    (workspace / "verify").mkdir(exist_ok=True)
    (workspace / "checkpoints" / "step.tmp" / "model").write_text("")
    (workspace / "checkpoints" / "step.tmp").rename(workspace / "checkpoints" / "step")
    os.link(workspace / "checkpoints" / "step" / "model", workspace / "verify" / "model")


def connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=5).close()


def listen(port: int) -> None:
    with socket.socket() as own:
        own.bind(("127.0.0.1", port))
        own.listen(1)


def abstract(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as link:
        link.connect("\0" + name)


def named(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(path))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[sys.argv.index("--spec") + 1])))
