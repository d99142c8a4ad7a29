"""The API and the Celery worker of an embedded stack: their commands and their environment."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from local.child import Child
from local.dependents import VARIABLE
from local.private import write_private

ROOT = Path(__file__).resolve().parents[1]
DEVICES = Path("/dev")
# Told by file: whoever reads an environment finds none of it.
SECRET = ("DATABASE_URL", "REDIS_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
# Of another deployment, in the shell that starts us: the embedded parts are named in full.
FOREIGN = (
    *("S3_PUBLIC_ENDPOINT_URL", "S3_REGION", "S3_PATH_STYLE", "AWS_SESSION_TOKEN", "AWS_PROFILE"),
    *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"),
)


def environment(home: Path, parts: Mapping[str, str], node: str) -> dict[str, str]:
    """Ours, with the parts named; the children import this very code, whatever the current folder holds."""
    inherited = {name: value for name, value in os.environ.items() if name not in (*FOREIGN, *SECRET)}
    folder = home / "secrets"
    folder.mkdir(mode=0o700, exist_ok=True)
    for name in SECRET:
        if name in parts:
            write_private(folder / name.lower(), parts[name])
    files = {f"{name}_FILE": str(folder / name.lower()) for name in SECRET if name in parts}
    return {
        "PALATE_SLOTS": str(slots()),
        "PALATE_LAUNCHER": "warm",
        **inherited,
        **{name: value for name, value in parts.items() if name not in SECRET},
        **files,
        "PALATE_NODE": node,
        "PALATE_SCRATCH": str(home / "scratch"),
        "PALATE_CACHE": str(home / "cache"),
        "PALATE_DOWNLOADS": "auto",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
    }


def api(home: Path, known: Mapping[str, str], host: str, port: int) -> Child:
    return Child(
        name="api",
        command=[
            *(sys.executable, "-m", "api", "--host", host, "--port", str(port)),
        ],
        environment=known,
        log=home / "logs" / "api.log",
        grace=22.0,
    )


def celery(home: Path, known: Mapping[str, str], lifeline: str) -> Child:
    """What it starts outlives it, but not `palate up`."""
    return Child(
        name="celery",
        command=[
            *(sys.executable, "-m", "celery", "-A", "worker.celery_app", "worker", "-P", "threads", "-c", "4"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat", "-n", f"{known['PALATE_NODE']}@%h"),
        ],
        environment={**known, VARIABLE: lifeline},
        log=home / "logs" / "celery.log",
        grace=10.0,
    )


def slots() -> int:
    """0 where there are GPUs: the worker counts those that it is shown. Else one a core, and two at least, so that two
    ranks fit everywhere.
    """
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1")
    return 0 if any(DEVICES.glob("nvidia[0-9]*")) and not hidden else max(2, os.cpu_count() or 1)
