import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zstandard

from preferences.report import Report
from tests.unit.preferences.rows import jsonl, openai

ROOT = Path(__file__).resolve().parents[3]


def child(tmp_path: Path, data: bytes, *more: str, **asked: object) -> subprocess.CompletedProcess[str]:
    (tmp_path / "source").write_bytes(data)
    command = [sys.executable, "-m", "worker.validate", "--source", "source", "--canonical", "out.zst"]
    if asked:
        (tmp_path / "asked.json").write_text(json.dumps(asked))
        more = (*more, "--asked", "asked.json")
    return subprocess.run(
        [*command, "--report", "report.json", *more],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_good_file_gives_report_and_canonical(tmp_path):
    done = child(tmp_path, jsonl([openai(n) for n in range(12)]), name="pairs.jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    report = Report.model_validate_json((tmp_path / "report.json").read_text())
    plain = zstandard.ZstdDecompressor().decompressobj().decompress((tmp_path / "out.zst").read_bytes())
    assert report.digest == hashlib.sha256(plain).hexdigest()
    assert (report.file, report.counts.usable) == ("pairs.jsonl", 12)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["asked.json", "out.zst", "report.json", "source"]


def test_a_refused_file_exits_0_with_a_report_and_no_canonical(tmp_path):
    (tmp_path / "out.zst").write_bytes(b"of an earlier try")
    done = child(tmp_path, jsonl([openai(n) for n in range(12)]) + b"{x\n")
    assert done.returncode == 0
    assert Report.model_validate_json((tmp_path / "report.json").read_text()).error.code == "too_many_bad_lines"
    assert not (tmp_path / "out.zst").exists()
    again = child(tmp_path, jsonl([openai(n) for n in range(12)]) + b"{x\n", on_error="skip", max_bad_fraction=0.1)
    assert again.returncode == 0
    assert (tmp_path / "out.zst").exists()


@pytest.mark.parametrize(
    "asked", [{"format": "nonsense"}, {"max_bad_fraction": 7}, {"source": "absent"}, {"on_error": "other"}]
)
def test_other_exits_mean_that_no_report_was_written(tmp_path, asked):
    done = child(tmp_path, b"", **asked)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "report.json").exists()


def test_memory_is_limited_by_the_child_itself(tmp_path):
    deep = b'{"a": [' + b"{}," * 5_000_000 + b"{}]}\n"
    done = child(tmp_path, jsonl([openai(n) for n in range(12)]) + deep, "--memory-bytes", str(300 << 20))
    assert done.returncode == 75
    assert "memory" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_the_child_never_imports_torch_or_a_service():
    code = (
        "import sys, worker.validate; "
        "print([m for m in ('torch', 'sqlalchemy', 'boto3', 'celery', 'httpx', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_a_child_dies_with_its_parent(tmp_path):
    pipe = tmp_path / "source"
    os.mkfifo(pipe)
    outputs = ["--canonical", str(tmp_path / "c"), "--report", str(tmp_path / "r")]
    command = [sys.executable, "-m", "worker.validate", "--source", str(pipe), *outputs]
    code = f"import subprocess, time; print(subprocess.Popen({command!r}).pid, flush=True); time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    pid = int(parent.stdout.readline())
    # Opening succeeds only once the child reads, and so has bound itself to its parent.
    writer = until(lambda: _open(pipe))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert until(lambda: not _alive(pid))
    os.close(writer)


def _open(pipe: Path) -> int | None:
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition, seconds: float = 20):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)
    return value


def test_a_mapping_reaches_the_checks(tmp_path):
    rows = [{"ask": f"q{n}", "yes": "a", "no": "b"} for n in range(12)]
    done = child(tmp_path, jsonl(rows), mapping={"prompt": "ask", "chosen": "yes", "rejected": "no"})
    assert (done.returncode, done.stderr) == (0, "")
    report = Report.model_validate_json((tmp_path / "report.json").read_text())
    assert (report.format, report.counts.usable) == ("mapped", 12)
