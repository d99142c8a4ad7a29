"""Cleaning on request: what was named goes and is recorded, all else stays byte for byte, the source is not touched."""

import gzip
import io
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from core.contract.errors import BadInput
from preferences.check import check_file
from preferences.cleaning.clean import Cleaned, Removed, clean
from preferences.cleaning.reasons import DROPS
from preferences.limits import Limits
from tests.unit.preferences.rows import jsonl, kto, ranked, triple


def cleaned(tmp_path: Path, data: bytes, *drop: str, **more: object) -> tuple[bytes, list[Removed], Cleaned]:
    source = tmp_path / "data"
    source.write_bytes(data)
    out, removed = io.BytesIO(), list[Removed]()
    done = clean(source, out, drop, removed=removed.append, **more)  # type: ignore[arg-type]
    assert source.read_bytes() == data
    assert done.rows == done.kept + len(removed)
    assert done.removed == {each.reason: sum(r.reason == each.reason for r in removed) for each in removed}
    return out.getvalue(), removed, done


def turned(row: dict[str, object]) -> dict[str, object]:
    return row | {"chosen": row["rejected"], "rejected": row["chosen"]}


ROWS = [triple(n) | {"id": n} for n in range(30)]
# Odd spacing and order, which a copy that parses and writes again would lose.
ODD = b'{ "rejected":"b\\u00e9",  "chosen" : "a", "prompt": "p" }\r'
LINES = [
    *jsonl(ROWS).splitlines(),
    ODD,
    json.dumps(ROWS[3] | {"id": "again"}).encode(),
    json.dumps(turned(ROWS[5])).encode(),
    json.dumps(ROWS[7] | {"rejected": ROWS[7]["chosen"]}).encode(),
    json.dumps(ROWS[8] | {"rejected": ""}).encode(),
    b'{"prompt": broken',
]
PLAIN = b"\n".join(LINES) + b"\n"
WENT = {"duplicates": [32], "contradictions": [6, 33], "identical": [34], "empty": [35], "malformed": [36]}


@pytest.mark.parametrize("drop", WENT)
def test_only_what_is_named_goes(tmp_path: Path, drop: str) -> None:
    data, removed, _ = cleaned(tmp_path, PLAIN, drop)
    assert [each.line for each in removed] == WENT[drop]
    assert data == b"\n".join(line for n, line in enumerate(LINES, 1) if n not in WENT[drop]) + b"\n"
    assert [each.row.encode() for each in removed] == [LINES[n - 1] for n in WENT[drop]]


def test_what_stands_on_the_lines_that_are_named_goes(tmp_path: Path) -> None:
    data, removed, _ = cleaned(tmp_path, PLAIN, "duplicates", lines=[31, 2, 36])
    assert [(each.line, each.reason) for each in removed] == [
        (2, "listed"),
        (31, "listed"),
        (32, "duplicates"),
        (36, "listed"),
    ]
    assert data == b"\n".join(line for n, line in enumerate(LINES, 1) if n not in (2, 31, 32, 36)) + b"\n"


@pytest.mark.parametrize(
    ("data", "lines", "word"),
    [(PLAIN, [3, 37, 99], "line 37, 99"), (json.dumps(ROWS).encode(), [1], "make it JSON lines")],
)
def test_lines_that_are_not_there_are_another_files(tmp_path: Path, data: bytes, lines: list[int], word: str) -> None:
    with pytest.raises(BadInput, match=word) as refused:
        cleaned(tmp_path, data, lines=lines)
    assert refused.value.param == "lines"


def test_a_table_that_only_its_mapping_tells_is_copied_too(tmp_path: Path) -> None:
    """Every other record is ragged, so nothing but the columns that the owner names speaks of a table."""
    lines = [b"q,good,bad\n", *(b"q%d,good %d,bad %d\n" % (n, n, n) if n % 2 else b"q%d,good\n" % n for n in range(30))]
    mapping = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    data, removed, done = cleaned(tmp_path, b"".join(lines), "malformed", mapping=mapping)
    assert data == b"".join([lines[0], *lines[2::2]])
    assert (len(removed), done.kept) == (15, 15)


def test_a_layout_of_ones_own_takes_its_mapping(tmp_path: Path) -> None:
    own = [{"q": row["prompt"], "good": row["chosen"], "bad": row["rejected"]} for row in ROWS]
    mapping = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    data, removed, _ = cleaned(tmp_path, jsonl([*own, own[3]]), "duplicates", mapping=mapping)
    assert [each.line for each in removed] == [31]
    assert data == jsonl(own)


def test_all_at_once_leaves_a_file_with_nothing_to_clean(tmp_path: Path) -> None:
    data, removed, done = cleaned(tmp_path, PLAIN, *DROPS)
    assert sorted(each.line for each in removed) == sorted(line for lines in WENT.values() for line in lines)
    assert done.kept == len(LINES) - 6
    report = check_file(io.BytesIO(data))
    assert report.usable
    assert {each.code: each.count for each in report.checks if each.code in ("contradictions", "exact_duplicates")} == {
        "contradictions": 0,
        "exact_duplicates": 0,
    }
    assert ODD in data.split(b"\n")
    assert cleaned(tmp_path, data, *DROPS)[0] == data


WORDS = "the old lighthouse keeper told every visitor the same long story about a storm that no one else remembered"


KEY = "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vW7xY9zA2cD4fG6"


def near(n: int, more: str = "") -> dict[str, object]:
    return {"prompt": f"Story {n}?", "chosen": f"{WORDS} {n} {n * 7} {n * 13} {n * 29}{more}", "rejected": f"No {n}."}


@pytest.mark.parametrize(
    ("drop", "row", "word"),
    [
        ("near_duplicates", near(4, "."), "nearly line 5"),
        ("near_identical_pair", {"prompt": "p", "chosen": WORDS + ".", "rejected": WORDS + "!"}, "95%"),
        (
            "secrets",
            {"prompt": "p", "chosen": "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vW7xY9zA2cD4fG6", "rejected": "r"},
            "GitHub",
        ),
        ("personal_data", {"prompt": "Ask jane.doe@mail.co", "chosen": "c", "rejected": "r"}, "e-mail"),
    ],
)
def test_what_the_checks_find_can_go(tmp_path: Path, drop: str, row: dict[str, object], word: str) -> None:
    rows = [triple(n) for n in range(20)] if drop != "near_duplicates" else [near(n) for n in range(20)]
    data, removed, _ = cleaned(tmp_path, jsonl([*rows, row]), drop)
    assert data == jsonl(rows)
    assert [(each.line, each.reason) for each in removed] == [(21, drop)]
    assert word in removed[0].note


def test_reasons_name_the_other_line(tmp_path: Path) -> None:
    _, removed, _ = cleaned(tmp_path, PLAIN, *DROPS)
    notes = {each.line: each.note for each in removed}
    assert notes[32] == "the same as line 4"
    assert (notes[6], notes[33]) == ("line 33 prefers the other answer", "line 6 prefers the other answer")
    assert notes[36].startswith("json_invalid: ")


def test_a_repeat_is_no_contradiction_of_its_own(tmp_path: Path) -> None:
    """The repeat of a contradicted record goes as a repeat, the two that disagree as contradictions."""
    rows = [*ROWS, turned(ROWS[5]), ROWS[5]]
    _, removed, _ = cleaned(tmp_path, jsonl(rows), "duplicates", "contradictions")
    assert {each.line: each.reason for each in removed} == {
        6: "contradictions",
        31: "contradictions",
        32: "duplicates",
    }


def test_an_array_on_one_line_tells_elements(tmp_path: Path) -> None:
    rows = [*ROWS, ROWS[3], turned(ROWS[5])]
    _, removed, _ = cleaned(tmp_path, json.dumps(rows).encode(), "duplicates", "contradictions")
    assert {(each.line, each.element, each.note) for each in removed} == {
        (1, 30, "the same as element [3]"),
        (1, 31, "element [5] prefers the other answer"),
        (1, 5, "element [31] prefers the other answer"),
    }


def test_a_malformed_line_among_the_first_shifts_nothing(tmp_path: Path) -> None:
    """Rows are parsed ahead to detect the format: a fault there comes to light before the rows around it."""
    data = b"not json\n" + jsonl([ROWS[0], ROWS[0], *ROWS[1:]])
    _, removed, _ = cleaned(tmp_path, data, "duplicates")
    assert [(each.line, each.note) for each in removed] == [(3, "the same as line 2")]


def test_an_array_stays_an_array(tmp_path: Path) -> None:
    rows = [*ROWS, ROWS[2], turned(ROWS[9])]
    for data in (json.dumps(rows).encode(), json.dumps(rows, indent=1).encode()):
        out, removed, _ = cleaned(tmp_path, data, "duplicates", "contradictions")
        assert json.loads(out) == [row for n, row in enumerate(ROWS) if n != 9]
        assert [each.element for each in removed] == [9, 30, 31]
        assert json.loads(removed[1].row) == rows[30]


def test_near_repeats_of_an_array_on_one_line_go(tmp_path: Path) -> None:
    rows = [*[near(n) for n in range(20)], near(4, ".")]
    _, removed, _ = cleaned(tmp_path, json.dumps(rows).encode(), "near_duplicates")
    assert [each.element for each in removed] == [20]


def test_a_table_stays_a_table(tmp_path: Path) -> None:
    """Records over several lines, quotes, CRLF and a mark at the beginning: byte for byte."""
    head = b"\xef\xbb\xbfprompt;chosen;rejected;id\r\n"
    rows = [f'"What is {n} + 1?\nSay it; quickly.";"It is ""{n + 1}"".";No idea.;{n}\r\n'.encode() for n in range(20)]
    again = rows[3].replace(b";3\r", b";again\r")
    data = head + b"".join([*rows, again, b"too;few\r\n"])
    out, removed, _ = cleaned(tmp_path, data, "duplicates")
    assert out == head + b"".join(rows) + b"too;few\r\n"
    assert [(each.line, each.note) for each in removed] == [(42, "the same as line 8")]
    assert cleaned(tmp_path, data, "duplicates", "malformed")[0] == head + b"".join(rows)


PACKINGS = [
    (gzip.compress, gzip.decompress),
    (zstandard.compress, lambda data: zstandard.decompress(data, 1 << 20)),
]


@pytest.mark.parametrize(("pack", "unpack"), [(bytes, bytes), *PACKINGS], ids=["plain", "gzip", "zstd"])
def test_parquet_keeps_its_schema_and_other_rows(tmp_path: Path, pack, unpack) -> None:
    rows = [row | {"id": str(n), "tags": [n, n + 1]} for n, row in enumerate([*ROWS, ROWS[3]])]
    table = pyarrow.Table.from_pylist(rows)
    target = io.BytesIO()
    pyarrow.parquet.write_table(table, target, row_group_size=7)
    out, removed, _ = cleaned(tmp_path, pack(target.getvalue()), "duplicates")
    assert [each.line for each in removed] == [31]
    kept = pyarrow.parquet.read_table(io.BytesIO(unpack(out)))
    assert kept == table.slice(0, 30)


@pytest.mark.parametrize(("pack", "unpack"), PACKINGS)
def test_it_is_packed_as_the_source_is(tmp_path: Path, pack, unpack) -> None:
    data, _, _ = cleaned(tmp_path, pack(PLAIN), "duplicates")
    assert unpack(data) == cleaned(tmp_path, PLAIN, "duplicates")[0]


@pytest.mark.parametrize("build", [kto, ranked])
def test_other_kinds(tmp_path: Path, build) -> None:
    rows = [build(n) for n in range(20)]
    data, removed, _ = cleaned(tmp_path, jsonl([*rows, rows[4]]), *DROPS)
    assert data == jsonl(rows)
    assert [each.line for each in removed] == [21]


def test_an_answer_that_has_both_labels_goes_with_both(tmp_path: Path) -> None:
    rows = [kto(n) for n in range(20)]
    opposite = rows[4] | {"completion": f" {rows[4]['completion']}\n", "label": not rows[4]["label"]}
    data, removed, _ = cleaned(tmp_path, jsonl([*rows, opposite, rows[7]]), "contradictions")
    assert data == jsonl([*rows[:4], *rows[5:], rows[7]])
    assert [(each.line, each.note) for each in removed] == [
        (5, "line 21 gives it the other label"),
        (21, "line 5 gives it the other label"),
    ]


def test_a_row_that_is_too_long_to_be_held_goes_whatever_was_named(tmp_path: Path) -> None:
    data = PLAIN + json.dumps({"prompt": "x" * 5000}).encode() + b"\n"
    _, removed, _ = cleaned(tmp_path, data, "duplicates", limits=Limits(line=4096))
    assert [(each.line, each.reason) for each in removed] == [(32, "duplicates"), (37, "malformed")]


@pytest.mark.parametrize("drop", [[], ["everything"], ["duplicates", "secret"]])
def test_what_cannot_be_dropped_is_named(tmp_path: Path, drop: list[str]) -> None:
    with pytest.raises(BadInput, match="contradictions"):
        cleaned(tmp_path, PLAIN, *drop)


@pytest.mark.parametrize("data", [b"", b"\x80\x04", b'{"a": 1}\n', b"[{]"])
def test_a_file_of_which_nothing_is_understood_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BadInput):
        cleaned(tmp_path, data, "duplicates")
