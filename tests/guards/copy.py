"""A copy of the project in which one guard at a time is taken away."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import ROOT, SHARED, UNSHRUNK
from tests.guards.guard import Guard

TEST_SECONDS = 300
# That it fails is enough: no smallest example is looked for.
OPTIONS = ("-q", "-x", "-n", "0", "-p", "no:cacheprovider", f"--hypothesis-profile={UNSHRUNK}")


def copy_to(folder: Path) -> None:
    """What git would take along, uncommitted changes included."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


@contextmanager
def without(guard: Guard, folder: Path) -> Iterator[None]:
    path = folder / guard.path
    text = path.read_text()
    assert text.count(guard.held) == 1, f"{guard.name}: it stands {text.count(guard.held)} times in {guard.path}"
    path.write_text(text.replace(guard.held, guard.gone))
    try:
        yield
    finally:
        path.write_text(text)


def cries(guard: Guard, folder: Path, shared: Path) -> bool:
    """Whether its test fails (pytest's exit code 1; any other is a mistake of ours).

    `shared`: of a session whose stack serves here too; but not its databases, where the guard is a migration.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    if not guard.path.startswith("migrations/"):
        environment[SHARED] = str(shared)
    with without(guard, folder):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *OPTIONS, guard.test],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TEST_SECONDS,
        )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.returncode == 1
