"""House rules as checks over the source, and a planted violation for each: a rule that cannot fail is none."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.failpoints import bare_renames, uncatalogued

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("core", "planning", "preferences", "api", "worker", "trainer", "local", "demo", "cli")
Sources = dict[str, str]
Rule = Callable[[Sources], list[str]]


def sources() -> Sources:
    return {
        path.relative_to(ROOT).as_posix(): path.read_text() for room in ROOMS for path in (ROOT / room).rglob("*.py")
    }


def lines_with(files: Sources, pattern: str, allowed: Callable[[str], bool]) -> list[str]:
    found = re.compile(pattern)
    return [
        f"{path}:{number}"
        for path, text in files.items()
        if not allowed(path)
        for number, line in enumerate(text.splitlines(), 1)
        if found.search(line)
    ]


def no_rag_bags(files: Sources) -> list[str]:
    return [path for path in files if re.search(r"(^|/|_)(utils?|common|helpers?|misc)(_|\.py$|/)", path)]


def one_commit(files: Sources) -> list[str]:
    return lines_with(files, r"\bcommit\(\)", lambda path: path == "core/db/engine.py")


def job_state_in_its_file(files: Sources) -> list[str]:
    """Only core/db/jobs.py writes a job's state (submit.py makes the row)."""
    written = r"update\((Job|JOBS)\).*state=|\bjob\.state\s*=[^=]"
    return lines_with(files, written, lambda path: path in ("core/db/jobs.py",))


def keys_in_one_file(files: Sources) -> list[str]:
    return lines_with(
        files, r"""f["'](files|canonical|models|jobs|inspections)/""", lambda path: path == "core/objects/keys.py"
    )


def sources_stay_short(files: Sources) -> list[str]:
    return [path for path, text in files.items() if text.count("\n") > 350]


def no_promises(files: Sources) -> list[str]:
    return lines_with(files, r"\b(TODO|FIXME|XXX)\b|NotImplementedError", lambda path: False)


def nothing_swallowed(files: Sources) -> list[str]:
    """An `except` whose body is `pass` hides what happened."""
    found = re.compile(r"except[^\n]*:\n\s+pass\b")
    return [path for path, text in files.items() if found.search(text)]


def core_is_no_room_to_import_from(files: Sources) -> list[str]:
    return ["core/__init__.py"] if files.get("core/__init__.py") else []


def a_failpoint_in_each_gap(files: Sources) -> list[str]:
    """Durable calls pass a failpoint by themselves; that it is reached and killed is the catalogue's word."""
    return uncatalogued(files) + bare_renames(files)


RULES: list[tuple[Rule, Sources]] = [
    (no_rag_bags, {"api/utils.py": ""}),
    (no_rag_bags, {"worker/string_helpers.py": ""}),
    (one_commit, {"api/routes/files.py": "session.commit()"}),
    (job_state_in_its_file, {"worker/close.py": "session.execute(update(Job).values(state='failed'))"}),
    (job_state_in_its_file, {"core/db/attempts.py": "    job.state = 'failed'"}),
    (keys_in_one_file, {"api/intake.py": 'key = f"files/{file_id}"'}),
    (sources_stay_short, {"trainer/loop.py": "\n" * 400}),
    (a_failpoint_in_each_gap, {"worker/new.py": "def f():\n    with transaction() as session:\n        x(session)\n"}),
    (a_failpoint_in_each_gap, {"worker/new.py": "class A:\n    def f(self):\n        self._store.put(key, b'')\n"}),
    (a_failpoint_in_each_gap, {"trainer/new.py": "def f():\n    partial.rename(path)\n"}),
    (a_failpoint_in_each_gap, {"worker/new.py": "def f():\n    partial.with_suffix('.a').replace(path)\n"}),
    (a_failpoint_in_each_gap, {"worker/new.py": "def f():\n    os.replace(partial, path)\n"}),
    (a_failpoint_in_each_gap, {"trainer/new.py": "def f():\n    rename(partial, path)\n"}),
    (a_failpoint_in_each_gap, {"api/intake.py": "def _commit():\n    return None\n"}),
    (no_promises, {"cli/main.py": "# TODO later"}),
    (nothing_swallowed, {"worker/sweeper.py": "try:\n    x()\nexcept OSError:\n    pass\n"}),
    (core_is_no_room_to_import_from, {"core/__init__.py": "from core import ids"}),
]


@pytest.mark.parametrize("rule", sorted({rule for rule, _ in RULES}, key=lambda rule: rule.__name__))
def test_the_house_keeps_its_rules(rule: Rule) -> None:
    assert rule(sources()) == []


@pytest.mark.parametrize(("rule", "planted"), RULES)
def test_a_planted_violation_is_found(rule: Rule, planted: Sources) -> None:
    assert rule(planted)


VIOLATIONS = {
    "trainer": "import sqlalchemy",
    "api": "import torch",
    "preferences": "import core.db.engine",
    "worker": "import boto3",
    "core": "import api.app",
}


@pytest.mark.parametrize("room", VIOLATIONS)
def test_a_planted_import_breaks_a_contract(room: str, tmp_path: Path) -> None:
    """In a skeleton of the house: every room empty but for the violation, the contracts those of pyproject.toml."""
    for name in (*ROOMS, "core/contract", "core/db", "core/objects"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "__init__.py").touch()
    for module in ("core/settings", "core/ids", "core/log", "core/queue", "core/db/engine", "api/app"):
        (tmp_path / f"{module}.py").touch()
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    assert lint_imports(tmp_path) == 0, "the empty house keeps its contracts"
    (tmp_path / room / "planted.py").write_text(VIOLATIONS[room] + "\n")
    assert lint_imports(tmp_path) != 0


def lint_imports(folder: Path) -> int:
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from importlinter.cli import lint_imports_command; "
            "sys.path.insert(0, ''); lint_imports_command()",
            "--no-cache",
        ],
        cwd=folder,
        capture_output=True,
        env={"PYTHONPATH": str(folder), "PATH": "", "PYTHONSAFEPATH": "1"},
    ).returncode
