"""What is wrong with a file, from the process that reads it beside the upload: rows at once, the whole at its end."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from cli import early, train
from cli.arguments import parser
from cli.service import Service
from core.contract.errors import BadInput
from preferences.mapping import from_words, parse_mapping
from tests.unit.preferences.rows import jsonl, triple

GOOD = jsonl([triple(n) for n in range(30)])
USELESS = jsonl([triple(0) | {"rejected": triple(0)["chosen"]}])


@pytest.mark.parametrize(
    ("data", "skip", "doomed", "told"),
    [
        (GOOD, False, False, []),
        (GOOD + USELESS, False, False, ["line 31: chosen_equals_rejected: "]),
        (GOOD + b"{\n" * 12, True, False, [f"line {n}: json_invalid: " for n in range(31, 41)]),
        (GOOD + b"{\n", False, True, ["line 31: json_invalid: "]),
        (b"PK\3\4", True, True, []),
    ],
    ids=["good", "useless", "skipped", "malformed", "no such container"],
)
def test_rows_are_told_and_only_a_certain_refusal_dooms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, skip: bool, doomed: bool, told: list[str]
) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(data)
    with early.reading(path, early.Layout(), skip=skip) as reader:
        reader.join(60)
        assert reader.doomed == doomed
        if doomed:
            assert f"{path} would be refused, and is not sent: " in str(reader.verdict(path))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(told)
    assert all(start in line for start, line in zip(told, said, strict=True))


MAPPED = jsonl([{"q": f"What is {n} + 1?", "yes": f"It is {n + 1}.", "no": "No idea."} for n in range(30)])
OWN: dict[str, str | list[str]] = {"prompt": "q", "chosen": "yes", "rejected": "no"}


@pytest.mark.parametrize(("format", "word"), [(None, ""), ("openai_preference", "has columns of its own")])
def test_a_layout_of_one_s_own_is_read_by_its_mapping(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], format: str | None, word: str
) -> None:
    path = tmp_path / "own.jsonl"
    path.write_bytes(MAPPED)
    with early.reading(path, early.Layout(format, OWN), skip=False) as reader:
        reader.join(60)
        assert reader.doomed == bool(word)
        assert not word or word in str(reader.verdict(path))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        (early.Layout(), ""),
        (early.Layout("plain_triple", None, True), " --format plain_triple --raw-text"),
        (early.Layout(None, OWN), " --mapping prompt=q --mapping chosen=yes --mapping rejected=no"),
        (
            early.Layout(None, {"prompt": "my question", "answers": ["a,b", "c"], "pairs": "won"}),
            """ --mapping '{"prompt": "my question", "answers": ["a,b", "c"], "pairs": "won"}'""",
        ),
    ],
    ids=["found", "format", "mapping", "columns"],
)
def test_the_advice_is_a_command_that_reads_the_file_alike(tmp_path: Path, layout: early.Layout, words: str) -> None:
    path = tmp_path / "own.jsonl"
    path.write_bytes(b"{\n")
    with early.reading(path, layout, skip=False) as reader:
        reader.join(60)
        advice = str(reader.verdict(path)).splitlines()[-1]
    assert advice == f"Every bad line: palate check{words} -- {path}"
    given = parser().parse_args(shlex.split(advice.partition(": palate ")[2]))
    mapping = parse_mapping(from_words(given.mapping)) if given.mapping else None
    assert early.Layout(given.format, mapping and mapping.fields, given.raw_text) == layout


def test_raw_texts_are_read_as_such(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_bytes(GOOD + jsonl([triple(0) | {"system": "Be brief."}]))
    with early.reading(path, early.Layout(raw_text=True), skip=False) as reader:
        reader.join(60)
        assert reader.doomed


class Taking(Service):
    """Notes what a file is sent with."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}

    def post(self, path: str, **sent: Any) -> dict[str, Any]:
        assert path == "/files"
        self.fields = sent["data"]
        return {}


@pytest.mark.parametrize("command", ["train", "plan", "preview"])
def test_a_mapping_goes_with_the_file(tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "own.jsonl"
    path.write_bytes(MAPPED)
    monkeypatch.setattr(early, "FROM_BYTES", 0)
    words = ["--raw-text", *(f"--mapping={field}={column}" for field, column in OWN.items())]
    service = Taking()
    train.upload(service, path, parser().parse_args([command, str(path), "--model", "m", *words]))
    assert json.loads(service.fields["palate[mapping]"]) == OWN
    assert service.fields["palate[raw_text]"] == "true"
    with pytest.raises(BadInput, match="is not field=column"):
        train.upload(service, path, parser().parse_args([command, str(path), "--model", "m", "--mapping", "x"]))
