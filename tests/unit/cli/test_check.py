import io
import json
import re
import sys

import pytest

from cli.check import run
from cli.main import main
from preferences.report import Report
from tests.unit.preferences.rows import helpsteer, jsonl, kto, openai, ranked, triple


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.jsonl"
    path.write_bytes(jsonl([openai(number) for number in range(12)]))
    return path


@pytest.fixture
def bad(tmp_path):
    path = tmp_path / "[bold]bad.jsonl"
    path.write_bytes(jsonl([openai(number) for number in range(12)]) + b'{"x\x1b[2J[/red]": }\n')
    return path


def test_a_usable_file(good, capsys):
    assert run(good, False) == 0
    out, err = capsys.readouterr()
    assert "Usable. 12 pairs taken." in out
    assert "openai_preference" in out
    assert "few_pairs" in out
    assert err == ""


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (kto, ["answers 12 12 usable", "wanted 6 50.0%", "not wanted 6 50.0%", "Usable. 12 answers taken."]),
        (ranked, ["rankings 12 12 usable", "comparisons 36 100.0%", "ties 0 0.0%", "Usable. 12 rankings taken."]),
        (triple, ["pairs 12 12 usable", "chosen longer 3 25.0%", "Usable. 12 pairs taken."]),
    ],
)
def test_each_kind_is_told_in_its_own_words(tmp_path, build, words, capsys):
    path = tmp_path / "data.jsonl"
    path.write_bytes(jsonl([build(number) | {"weight": 2} for number in range(12)]))
    assert run(path, False) == 0
    out = " ".join(capsys.readouterr().out.split())
    for word in [*words, "with weight"]:
        assert word in out


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (openai, "prompt <- input.messages, chosen <- preferred_output, rejected <- non_preferred_output"),
        (kto, "prompt <- prompt, completion <- completion, label <- label"),
    ],
)
def test_where_each_field_was_read_from(tmp_path, build, told, capsys):
    path = tmp_path / "data.jsonl"
    path.write_bytes(jsonl([build(number) for number in range(12)]))
    assert run(path, False) == 0
    assert f"read from: {told}\n" in capsys.readouterr().out


def test_a_column_s_name_does_not_steer_the_terminal(tmp_path, capsys):
    path = tmp_path / "own.jsonl"
    path.write_bytes(jsonl([{"[red]q\x1b[2J": f"q{n}", "a": "yes", "b": "no"} for n in range(12)]))
    mapping = {"prompt": "[red]q\x1b[2J", "chosen": "a", "rejected": "b"}
    assert main(["check", str(path), "--mapping", json.dumps(mapping)]) == 0
    out = capsys.readouterr().out
    assert "read from: prompt <- [red]q" in out
    assert "\x1b[2J" not in out


def test_ties_are_told_apart(tmp_path, capsys):
    rows = [helpsteer(n) | ({"overall_preference": 0} if n < 28 else {}) for n in range(40)]
    (tmp_path / "data.jsonl").write_bytes(jsonl(rows))
    assert run(tmp_path / "data.jsonl", False, html=tmp_path / "page.html") == 0
    out = " ".join(capsys.readouterr().out.split())
    for word in ("pairs and ties 40 40 usable", " ties 28 70.0%", "Usable. 12 pairs, 28 ties taken."):
        assert word in out
    assert "usable pairs and ties" in (tmp_path / "page.html").read_text()


def test_a_file_that_is_not_usable(bad, capsys):
    assert run(bad, False) == 1
    out = capsys.readouterr().out
    assert re.search(r"\b13 +\d+ +json_invalid", out)
    assert "hint: " in out
    assert "Not usable. too_many_bad_lines" in out
    assert "[bold]bad.jsonl" in out
    assert "\x1b[2J" not in out


def test_findings_stand_in_a_table_with_what_to_do_first(tmp_path, capsys):
    rows = [triple(number) | {"chosen": f"Surely, it is {number + 1}, of course."} for number in range(40)]
    rows += [rows[0] | {"chosen": rows[0]["rejected"], "rejected": rows[0]["chosen"]}] * 2
    path = tmp_path / "turned.jsonl"
    path.write_bytes(jsonl(rows))
    assert run(path, False) == 0
    out = capsys.readouterr().out
    told = " ".join(out.split())
    assert "block contradictions" in told
    assert "warn length_bias" in told
    assert "1. Contradictions: Decide each listed prompt one way" in told
    assert "Gate: block." in told
    assert "A job is refused unless it accepts contradictions" in told
    assert "checks with nothing to mend" in told


def test_the_page_is_written_beside_what_is_printed(good, bad, tmp_path, capsys):
    assert run(good, False, html=tmp_path / "good.html") == 0
    assert "Usable. 12 pairs taken." in capsys.readouterr().out
    page = (tmp_path / "good.html").read_text()
    assert "Examples side by side" in page
    assert "What is 3 + 1?" in page
    assert run(bad, True, html=tmp_path / "bad.html") == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["code"] == "too_many_bad_lines"
    assert "bad.html" in err
    assert "not usable" in (tmp_path / "bad.html").read_text()
    assert run(good, False, html=tmp_path / "absent" / "x.html") == 2
    assert "cannot be written" in capsys.readouterr().err
    assert run(tmp_path / "absent.jsonl", False, html=tmp_path / "none.html") == 2
    assert not (tmp_path / "none.html").exists()


def test_settings_reach_the_check(bad, capsys):
    assert run(bad, False, on_error="skip", max_bad_fraction=0.1) == 0
    assert run(bad, False, format="hh_rlhf") == 1
    assert run(bad, False, format="nonsense") == 2
    assert "nonsense" in capsys.readouterr().out


def test_json_is_the_report_and_nothing_else(good, bad, capsys):
    assert run(good, True) == 0
    report = Report.model_validate_json(capsys.readouterr().out)
    assert report.object == "file.report"
    assert report.error is None
    assert run(bad, True) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["error"]["code"] == "too_many_bad_lines"
    assert told["errors"][0]["line"] == 13
    assert told["file"] == "[bold]bad.jsonl"


@pytest.mark.parametrize("as_json", [True, False])
def test_what_cannot_be_read_at_all(tmp_path, as_json, capsys):
    for path in (tmp_path / "absent.jsonl", tmp_path, tmp_path / "a\0b"):
        assert run(path, as_json) == 2
        out = capsys.readouterr().out
        assert "cannot be read" in out
        if as_json:
            assert json.loads(out)["error"]["code"] == "file_unreadable"


@pytest.mark.parametrize("data", [b"", b"a,b\n1,2\n", b"\x1f\x8b", b"\x80\x04", b"[" * 100_000, b'{"a":' * 100_000])
def test_no_input_makes_a_traceback(tmp_path, data, capsys):
    (tmp_path / "x").write_bytes(data)
    assert run(tmp_path / "x", False) == 1
    assert run(tmp_path / "x", True) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_a_terminal_without_unicode_gets_escapes(tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(jsonl([openai(n) for n in range(12)]) + '{"é": }\n'.encode())
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert run(tmp_path / "x", True) == 1
    sys.stdout.flush()
    assert b"\\xe9" in written.getvalue()


def test_a_bar_is_shown_only_for_large_files_on_a_terminal(good, monkeypatch, capsys):
    monkeypatch.setattr("cli.check.PROGRESS_FROM", 0)
    assert run(good, False) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert run(good, False) == 0
    assert "Usable." in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["--mapping", "prompt=q", "--mapping", "answers=a,b", "--mapping", "pairs=won"],
        ["--mapping", '{"prompt": "q", "answers": ["a", "b"], "pairs": "won"}'],
    ],
)
def test_a_layout_of_ones_own(tmp_path, capsys, words):
    path = tmp_path / "own.jsonl"
    path.write_bytes(jsonl([{"q": f"q{n}", "a": "yes", "b": "no", "won": n % 2} for n in range(30)]))
    assert main(["check", str(path), "--json", *words]) == 0
    report = Report.model_validate_json(capsys.readouterr().out)
    assert (report.counts.pairs, report.counts.ties) == (15, 15)
    assert report.mapping["prompt"] == "q"


def test_a_word_that_is_no_mapping(good, capsys):
    assert main(["check", str(good), "--mapping", "prompt"]) == 2
    assert "`prompt` is not field=column." in capsys.readouterr().out


def test_bad_lines_may_be_left_out(bad, capsys):
    assert main(["check", str(bad), "--on-error", "skip", "--max-bad-fraction", "0.1"]) == 0
    assert main(["check", str(bad), "--format", "plain_triple"]) == 1
    capsys.readouterr()


def test_the_held_out_file_s_prompts_are_looked_for(tmp_path, capsys):
    (tmp_path / "train.jsonl").write_bytes(jsonl([openai(number) for number in range(30)]))
    (tmp_path / "held.jsonl").write_bytes(jsonl([openai(number) for number in range(25, 60)]))
    assert run(tmp_path / "train.jsonl", True, validation=tmp_path / "held.jsonl") == 0
    made = Report.model_validate_json(capsys.readouterr().out)
    found = next(each for each in made.checks if each.code == "train_validation_leakage")
    assert (found.severity, found.detail["exact"], found.examples[0].line) == ("block", 5, 1)
    assert run(tmp_path / "train.jsonl", False, validation=tmp_path / "nowhere.jsonl") == 2
    assert "nowhere.jsonl" in "".join(capsys.readouterr().out.split())


def test_raw_texts(tmp_path, good, capsys):
    (tmp_path / "texts.jsonl").write_bytes(jsonl([triple(n) for n in range(12)]))
    assert main(["check", str(tmp_path / "texts.jsonl"), "--raw-text"]) == 0
    assert "plain_triple, raw text, jsonl" in capsys.readouterr().out
    assert main(["check", str(good), "--raw-text"]) == 1
    assert "raw_text_not_texts: " in capsys.readouterr().out
    assert main(["check", str(good), "--raw-text", "--format", "openai_preference", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "raw_text_not_texts"
