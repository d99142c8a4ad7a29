"""The tests of tests/gpu, as a part."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from tests.gpu.check.part import Asked, Seen, Wrong
from tests.launch import ROOT


def numbers(asked: Asked) -> Seen:
    """Attention, layouts, head, and whatever else stands there; the runs and the fork are parts of their own."""
    return run(asked, "tests/gpu", "--ignore", "tests/gpu/test_runs.py")


def resume(asked: Asked) -> Seen:
    """A run, and the same run cut in two: the same weights, bit for bit, in each layout."""
    return run(asked, "tests/gpu/test_runs.py", "-k", "cut_in_two")


def run(asked: Asked, *chosen: str) -> Seen:
    report = asked.folder / "tests.xml"
    settled = ["--noconftest", "-c", "tests/gpu/pytest.ini", "--rootdir", str(ROOT), "-p", "no:cacheprovider"]
    # pytest.ini stands in tests/gpu, and paths are meant from here.
    command = [sys.executable, "-m", "pytest", *settled, "-m", "gpu", "-q", f"--junitxml={report}", *chosen]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=asked.left)
    except subprocess.TimeoutExpired as late:
        raise Wrong(f"not done in {late.timeout:.0f} s: {str(late.stdout or '')[-300:]}") from None
    if not report.exists():
        raise Wrong(f"pytest ended with {done.returncode}: {(done.stdout + done.stderr)[-1500:]}")
    return judged(report, done.returncode)


def judged(report: Path, code: int) -> Seen:
    """Skipped tests are told of; where none has passed, nothing was checked."""
    passed, bad, skipped, seconds = 0, [], [], 0.0
    for case in ElementTree.parse(report).iter("testcase"):
        seconds += float(case.get("time") or 0)
        faults, passed_over = [*case.findall("failure"), *case.findall("error")], case.find("skipped")
        if faults:
            bad.append(f"{case.get('name')}: {(faults[0].get('message') or '')[:300]}")
        elif passed_over is not None:
            skipped.append(f"{case.get('name')}: {passed_over.get('message')}")
        else:
            passed += 1
    report.unlink()
    if bad:
        raise Wrong(f"{len(bad)} of {passed + len(bad)} tests failed: " + "; ".join(bad))
    if code or not passed:
        raise Wrong(f"pytest ended with {code}, {passed} tests passed; skipped: {'; '.join(skipped) or 'none'}")
    seen = Seen(f"{passed} tests passed" + (f", {len(skipped)} skipped" if skipped else ""))
    seen.add("seconds in tests", f"{seconds:.1f}")
    for each in skipped:
        seen.add("skipped", each)
    return seen
