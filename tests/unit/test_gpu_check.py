"""`make gpu-check` itself: its verdicts, its limits, its words where there is no GPU; the whole of it on the CPU."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core import processes
from tests.gpu.check import __main__ as check
from tests.gpu.check import pytests, shapes
from tests.gpu.check.one import PARTS, Part
from tests.gpu.check.part import Asked, NotHere, Seen, Wrong
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
HERE = "tests.unit.test_gpu_check"


def good(asked: Asked) -> Seen:
    return Seen("as it should be", [("speed | of it", "much")])


def wrong(asked: Asked) -> Seen:
    raise Wrong("two weights differ")


def broken(asked: Asked) -> Seen:
    raise ZeroDivisionError("of a part")


def unserved(asked: Asked) -> Seen:
    raise NotHere("one device is here, two are needed")


def dies(asked: Asked) -> Seen:
    os._exit(7)


def hangs(asked: Asked) -> Seen:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (asked.folder.parent / "child").write_text(str(processes.of(child.pid)))
    time.sleep(600)
    raise AssertionError


def planted(*names: str) -> list[Part]:
    return [Part(name, f"what {name} looks at", 60, f"{HERE}:{name}") for name in names]


def on_the_cpu(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    known = {name: value for name, value in os.environ.items() if name != "PALATE_GPU_TESTS_ON"}
    return subprocess.run(
        [sys.executable, "-m", "tests.gpu.check", *arguments],
        cwd=ROOT,
        env={**known, "CUDA_VISIBLE_DEVICES": "", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def test_without_a_gpu_it_says_so_and_checks_nothing() -> None:
    done = on_the_cpu()
    assert done.returncode == 2, done.stderr
    assert re.match(r"No GPU to check: torch \S+: it (is a build for the CPU|finds no CUDA device)\. ", done.stdout)
    done = on_the_cpu("--size", "8b", PALATE_GPU_TESTS_ON="cpu")
    assert (done.returncode, done.stdout) == (2, "On the CPU this check is of --size tiny only.\n")


def test_the_parts_are_listed_and_others_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["--list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert (
        listed == [part.name for part in PARTS] == ["numbers", "layers", "launch", "lora8b", "resume", "full8b", "arms"]
    )
    with pytest.raises(SystemExit) as left:
        check.main(["--parts", "numbers,noise"])
    assert left.value.code == 2
    assert "no such part: noise; there are numbers, layers, launch" in capsys.readouterr().err


def test_the_verdict_is_the_worst_outcome_and_the_table_has_them_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PALATE_GPU_TESTS_ON", "cpu")
    nothing = {"devices": [], "why": "", "versions": {"torch": "2"}, "nccl": "", "memory": 1 << 33}
    monkeypatch.setattr(check, "facts", lambda: nothing)
    monkeypatch.setattr(check, "PARTS", planted("good", "unserved", "wrong", "broken", "dies"))
    results = tmp_path / "results.md"
    to = ["--size", "tiny", "--folder", str(tmp_path), "--results", str(results), "--parts"]
    assert check.main([*to, "good,unserved,wrong,broken,dies"]) == 1
    table = results.read_text()
    assert table.startswith(
        "# make gpu-check\n\nOn the CPU, 2 ranks where a part has several: no figure of a GPU. torch 2."
    )
    rows = [re.sub(r"\| \d+ \|", "| N |", line) for line in table.splitlines() if line.startswith("| ")]
    assert rows == [
        "| part | outcome | seconds | |",
        "| good | right | N | as it should be |",
        "| unserved | skipped | N | one device is here, two are needed |",
        "| wrong | failed | N | two weights differ |",
        "| broken | failed | N | ZeroDivisionError: of a part |",
        "| dies | failed | N | its process ended with 7 |",
        "| all | 1 right, 3 failed, 1 skipped | N | |",
        "| | |",
        "| speed / of it | much |",
    ]
    assert "\n".join(table.splitlines()[4:]) in capsys.readouterr().out
    assert check.main([*to, "good,unserved"]) == 0
    assert check.main([*to, "unserved"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["results.md"]


def test_a_part_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    given = Asked(
        size="tiny", shape="qwen3-8b", folder=folder, devices=1, memory_bytes=1, cuda=False, profile=False, until=0.0
    )
    (part,) = planted("hangs")
    found = check.run(part, given, 12.0)
    assert (found.outcome, found.said) == ("failed", "ended after 12 s, not done")
    assert found.seconds < 30
    child = processes.parse((tmp_path / "child").read_text())
    until(lambda: not child.alive(), "the end of what the part started", 10)
    late = check.run(part, given, 3.0)
    assert (late.outcome, late.seconds) == ("failed", 0.0)


def test_skipped_tests_are_no_success(tmp_path: Path) -> None:
    def report(*cases: str) -> Path:
        path = tmp_path / "tests.xml"
        path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
        return path

    passed, skipped = (
        '<testcase name="one" time="2"/>',
        '<testcase name="two"><skipped message="no device"/></testcase>',
    )
    failed = '<testcase name="three"><failure message="assert 1 == 2"/></testcase>'
    seen = pytests.judged(report(passed, skipped), 0)
    assert seen.said == "1 tests passed, 1 skipped"
    assert ("skipped", "two: no device") in seen.figures
    for cases, code, said in (
        ([passed, failed], 1, "1 of 2 tests failed: three: assert 1 == 2"),
        ([skipped], 0, "0 tests passed; skipped: two: no device"),
        ([], 5, "pytest ended with 5"),
    ):
        with pytest.raises(Wrong, match=said):
            pytests.judged(report(*cases), code)


@pytest.mark.parametrize(("shape", "parameters"), [("qwen3-8b", 8_190_735_360), ("llama-3.1-8b", 8_030_261_248)])
def test_the_shapes_are_those_of_the_public_models(shape: str, parameters: int) -> None:
    """The counts that their model cards give."""
    found = shapes.tensors(shapes.config(shape, "8b"))
    assert sum(map(shapes.elements, found.values())) == parameters
    files = list(shapes.parted(found, 2 << 30))
    assert [name for names in files for name in names] == list(found)
    assert all(sum(2 * shapes.elements(found[name]) for name in names) <= 2 << 30 for names in files)


@pytest.mark.slow
@pytest.mark.timeout(660)
def test_the_whole_check_on_the_cpu(tmp_path: Path) -> None:
    results = tmp_path / "results.md"
    options = ("--size", "tiny", "--profile", "--folder", str(tmp_path), "--results", str(results))
    done = on_the_cpu(*options, PALATE_GPU_TESTS_ON="cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    told = results.read_text()
    for part in PARTS:
        assert (f"\n| {part.name} | right |" in told) == part.by_default, told
    assert "| all | 5 right, 0 failed, 0 skipped |" in told
    for figure in (
        "noise, nats/sqrt(token)",
        "pairs/s, tokens/s fed (median)",
        "phase reference_pass, s",
        "time: exact gate: twins, s",
        "time: verify: the merge, s",
        "verified: merge slope of the merged model",
        "peak of the process, GB",
        "profile of step 5",
        "resumed from step",
    ):
        assert f"\n| {figure} | " in told, told
    assert [path.name for path in tmp_path.iterdir()] == ["results.md"]
