"""A copy of the project in which one guard at a time is taken away."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.conftest import ROOT, SHARED, UNSHRUNK
from tests.guards.guard import Guard

# More than pytest-timeout leaves to any test of a guard, which then says so itself.
TEST_SECONDS = 600
OUT_OF_TIME = "Failed: Timeout"
# That it fails is enough: no smallest example is looked for.
OPTIONS = ("-q", "-x", "-n", "0", "-p", "no:cacheprovider", f"--hypothesis-profile={UNSHRUNK}")


def copy_to(folder: Path) -> None:
    """What git would take along, uncommitted changes included."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
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


@dataclass(frozen=True)
class Outcome:
    """clean: pytest's exit code is 0. passed, failed: how many tests, by what they say themselves; one whose fixture
    broke, or whose time was over, is neither. skipped: why others were."""

    clean: bool
    passed: int
    failed: int
    skipped: list[str]
    told: str


def outcome(test: str, folder: Path, shared: Path | None) -> Outcome:
    """Of this test in the copy. `shared`: of a session whose stack serves here too."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    if shared is not None:
        environment[SHARED] = str(shared)
    report = folder.with_name(f"{folder.name}.xml")
    report.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, f"--junitxml={report}", test],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TEST_SECONDS,
    )
    told = done.stdout + done.stderr
    assert done.returncode in (0, 1), told
    assert report.exists(), told
    cases = list(ElementTree.parse(report).iter("testcase"))
    failures = [each.get("message", "") for case in cases for each in case.iter("failure")]
    return Outcome(
        clean=done.returncode == 0,
        passed=sum(not {each.tag for each in case} & {"failure", "error", "skipped"} for case in cases),
        failed=sum(not message.startswith(OUT_OF_TIME) for message in failures),
        skipped=[each.get("message", "") for case in cases for each in case.iter("skipped")],
        told=told,
    )


def outcome_without(guard: Guard, folder: Path, shared: Path) -> Outcome:
    """Where the guard is a migration, the session's databases are not what it makes."""
    with without(guard, folder):
        return outcome(guard.test, folder, None if guard.path.startswith("migrations/") else shared)
