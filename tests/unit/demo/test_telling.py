"""What is printed where no terminal is: plain lines, nothing live, every figure."""

import io

import pytest
from rich.console import Console

from demo import progress, telling
from demo.progress import Steps
from tests.unit.demo.runs import run


def console() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=120, highlight=False), out


def test_a_log_gets_a_line_at_intervals_and_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    told, out = console()
    with Steps(told, "DPO") as bar:
        for step in range(1, 41):
            now = 10.0 + step * 0.5
            bar.at(step, 40, f"loss {1 / step:.2f}")
    lines = out.getvalue().splitlines()
    assert lines[0] == "  DPO 1/40 after 10 s: loss 1.00"
    assert lines[1] == "  DPO 11/40 after 16 s: 14 s left, loss 0.09"
    assert lines[-1] == "  DPO 40/40 after 30 s: loss 0.03"
    assert len(lines) == 5
    assert "\x1b" not in out.getvalue()


def test_the_figures_of_a_step_in_a_row() -> None:
    assert telling.step_words(run().metrics) == "loss 0.310, right order 100%, margin +6.49"
    assert telling.step_words({}) == ""


def test_the_result_holds_both_models() -> None:
    told, out = console()
    telling.result(told, run())
    text = out.getvalue()
    for words in ("49.2%", "98.4%", "59 of 128", "121 of 128", "An ending, flat.", "An ending, intriguing."):
        assert words in text


def test_a_report_in_one_line() -> None:
    told, out = console()
    counts = {"pairs": 640, "usable": 639, "bad": 0, "chosen_longer": 320}
    warnings = [{"message": "1 pair is said twice."}]
    telling.report(told, "p.jsonl", {"format": "openai_preference", "counts": counts, "warnings": warnings})
    assert out.getvalue().splitlines() == [
        "  p.jsonl: 640 pairs, 639 usable, 0 bad lines, read as openai_preference; preferred one longer in 320",
        "    note: 1 pair is said twice.",
    ]
