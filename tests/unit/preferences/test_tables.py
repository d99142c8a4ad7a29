"""CSV and Parquet: the same records as JSON lines have, and every bad record at its place."""

import csv
import gzip
import io
import json
import struct
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from preferences import parquet_rows
from preferences.check import check_file
from tests.unit.preferences.rows import BUILDERS, SMALL, Row, check, conversational, jsonl, triple, turn

ROWS = [triple(number) for number in range(30)]
PACK = {"": bytes, "+gzip": gzip.compress, "+zstd": zstandard.compress}


def table(rows: list[Row], delimiter: str = ",", **options: str) -> bytes:
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, delimiter=delimiter, **options)
    writer.writeheader()
    for row in rows:
        writer.writerow({k: json.dumps(v) if isinstance(v, list | dict | bool) else v for k, v in row.items()})
    return text.getvalue().encode()


def parquet(rows: list[Row], **options) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out, **options)
    return out.getvalue()


def canonical(data: bytes | Path, **options) -> tuple[object, list[dict]]:
    stream = io.BytesIO()
    source = data if isinstance(data, Path) else io.BytesIO(data)
    report = check_file(source, canonical=stream, checks="none", **options)
    assert report.error is None, report.error
    lines = zstandard.ZstdDecompressor().decompressobj().decompress(stream.getvalue()).splitlines()
    return report, [{k: v for k, v in json.loads(line).items() if k != "origin"} for line in lines]


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("format", [name for name in BUILDERS if name not in ("ranked",)])
@pytest.mark.parametrize("make", [table, parquet])
def test_a_table_gives_the_records_of_json_lines(make, format, packing):
    rows = [BUILDERS[format](number) for number in range(12)]
    report, found = canonical(PACK[packing](make(rows)))
    assert report.container == {table: "csv", parquet: "parquet"}[make] + packing
    assert report.format == format
    assert found == canonical(jsonl(rows))[1]


def test_rankings_in_parquet_keep_their_structure():
    rows = [BUILDERS["ranked"](number) for number in range(12)]
    assert canonical(parquet(rows))[1] == canonical(jsonl(rows))[1]


@pytest.mark.parametrize("options", [{"delimiter": ";"}, {"delimiter": "\t"}, {"lineterminator": "\n"}])
def test_delimiters_and_line_ends(options):
    assert canonical(table(ROWS, **options))[1] == canonical(jsonl(ROWS))[1]
    assert canonical(b"\xef\xbb\xbf" + table(ROWS, **options))[1] == canonical(jsonl(ROWS))[1]


def test_texts_stay_texts_and_numbers_become_numbers():
    rows = [{**triple(n), "weight": 0.5, "confidence": 1} for n in range(12)]
    rows[0] |= {"chosen": '{"a": 1}', "rejected": "[1, 2]"}
    rows[1] |= {"chosen": "2", "rejected": "true"}
    rows[2] |= {"chosen": 'He said: "Well,\nwell"', "rejected": "a, b"}
    report, found = canonical(table(rows))
    assert found == canonical(jsonl(rows))[1]
    assert found[0]["chosen"][0]["content"] == '{"a": 1}'
    assert report.columns == ["weight"]


def test_a_bad_record_is_named_by_the_line_where_it_begins():
    rows = [triple(n) for n in range(30)]
    rows[3]["chosen"] = "two\nlines\nmore"
    data = table(rows, lineterminator="\n").splitlines(keepends=True)
    # The header is line 1, record 3 takes lines 5 to 7, so record 5 begins on line 9.
    assert data[8].startswith(b"What is 5")
    data[8] = b"What is 5 + 1?,only two cells\n"
    data[10] = b"What is 7 + 1?,caf\xe9,No idea.\n"
    report = check(b"".join(data), on_error="skip", max_bad_fraction=0.2)
    assert [(each.line, each.code) for each in report.errors] == [(9, "csv_invalid"), (11, "utf8_invalid")]
    assert "2 cells" in report.errors[0].message
    assert "only two cells" in report.errors[0].excerpt
    assert report.counts.usable == 28


def test_a_bad_record_of_parquet_is_named_by_its_number():
    rows = [{**triple(n), "weight": float(n) if n != 20 else -1.0} for n in range(30)]
    report = check(parquet(rows, row_group_size=7))
    assert [(each.line, each.code) for each in report.errors] == [(21, "weight_invalid")]


def test_a_record_that_no_csv_may_hold_leaves_the_file_a_table():
    lines = table(ROWS).splitlines(keepends=True)
    lines[3] = lines[3].replace(b",", b"\r,", 1)
    report = check(b"".join(lines))
    assert report.container == "csv"
    assert [(error.line, error.code) for error in report.errors] == [(4, "csv_invalid")]


def test_prose_with_commas_is_no_table():
    prose = b"Once, there was a king.\nHe had, as kings have, a crown, and a horse.\nNobody knew why.\n"
    report = check(prose)
    assert report.error.code == "container_unknown"
    assert "CSV" in report.error.message


def test_a_quote_that_is_never_closed_ends_in_bounded_memory():
    data = table(ROWS, lineterminator="\n") + b'"What now?,' + b"x\n" * 40_000
    report = check(data, limits=SMALL)
    assert report.error.code == "line_too_long"
    assert "line 32" in report.error.message
    assert "quote" in report.error.message


def test_the_index_that_pandas_writes_is_no_column():
    numbered = [{"": n, **row} for n, row in enumerate(ROWS)]
    assert canonical(table(numbered))[1] == canonical(jsonl(ROWS))[1]


@pytest.mark.parametrize("mapping", [None, {"prompt": "asked", "answers": ["a", "b"], "ranks": ["c", "d"]}])
def test_an_empty_answer_of_a_table_is_that_of_json(mapping):
    rows = [triple(n) | {"note": "", "source": ""} for n in range(40)]
    if mapping:
        rows = [{"asked": row["prompt"], "a": row["chosen"], "b": row["rejected"], "c": 1, "d": 2} for row in rows]
    rows[5]["b" if mapping else "rejected"] = ""
    report, found = canonical(table(rows), mapping=mapping)
    assert [(each.line, each.code) for each in report.errors] == [(7, "completion_empty")]
    assert [(each.code, each.path) for each in check(jsonl(rows), mapping=mapping).errors] == [
        (each.code, each.path) for each in report.errors
    ]
    assert len(found) == 39
    assert not any(record["meta"] or "source" in record for record in found)


def test_a_column_that_is_there_twice_is_named():
    data = table([{**row, "note": "a", "Note": "b"} for row in ROWS])
    assert check(data).error is None
    report = check(data.replace(b"Note", b"note", 1))
    assert report.error.code == "container_unknown"
    assert "2 columns named `note`: give each a name of its own" in report.error.message


@pytest.mark.parametrize("doubled", ["yes", "other"])
def test_so_is_one_of_a_table_that_a_mapping_explains(doubled):
    mapping = {"prompt": "q", "chosen": "yes", "rejected": "no"}
    rows = [{"q": row["prompt"], "yes": row["chosen"], "no": row["rejected"], "other": 1, "more": 2} for row in ROWS]
    data = table(rows)
    assert check(data, mapping=mapping).error is None
    report = check(data.replace(b"more", doubled.encode(), 1), mapping=mapping)
    assert report.error.code == "container_unknown"
    assert f"2 columns named `{doubled}`: give each a name of its own in the first line." in report.error.message


def test_a_quote_that_is_never_closed_is_told_where_it_begins():
    lines = table([triple(n) for n in range(60)], lineterminator="\n").splitlines(keepends=True)
    lines[20] = lines[20].replace(b",No", b',"No')
    report = check(b"".join(lines))
    assert [(each.line, each.code) for each in report.errors] == [(21, "csv_invalid")]
    assert "never closed" in report.errors[0].message
    assert report.error.code == "too_many_bad_lines"


def test_a_quote_that_a_later_one_closes_is_told_too():
    lines = table([triple(n) for n in range(60)], lineterminator="\n").splitlines(keepends=True)
    lines[20] = lines[20].replace(b",No", b',"No')
    lines[40] = lines[40].replace(b"No idea.", b'"No idea."')
    report = check(b"".join(lines))
    assert [(each.line, each.code) for each in report.errors] == [(21, "csv_invalid")]


@pytest.mark.parametrize("cut", [0.2, 0.5, 0.9, 0.999])
def test_a_parquet_file_that_is_cut_off(cut):
    data = parquet(ROWS)
    report = check(data[: int(len(data) * cut)])
    assert report.error.code == "container_damaged"
    assert "Parquet" in report.error.message


@pytest.mark.parametrize("bytes_seen", [12, pytest.param(None, marks=pytest.mark.slow)])
def test_parquet_with_bad_offsets_ends_in_a_named_error(bytes_seen):
    """A byte of the footer is another, a dozen in turn or every one: never a crash of ours, never a hang."""
    data = bytearray(parquet([triple(n) for n in range(40)], compression="none"))
    footer = struct.unpack("<I", data[-8:-4])[0]
    codes = set()
    for at in range(len(data) - 8 - footer, len(data) - 8, footer // bytes_seen if bytes_seen else 1):
        hostile = bytearray(data)
        hostile[at] ^= 0xFF
        report = check(bytes(hostile), checks="none")
        codes.add(report.error.code if report.error else None)
    assert "container_damaged" in codes
    assert codes <= {"container_damaged", "decompression_limit", "format_unknown", "too_many_bad_lines",
                     "too_few_pairs", "file_empty", None}  # fmt: skip


def test_a_parquet_file_that_unpacks_without_end_is_stopped():
    rows = [{**triple(n), "chosen": "a" * 100_000} for n in range(100)]
    report = check(parquet(rows), limits=SMALL)
    assert report.error.code == "decompression_limit"


def spread(**columns: list[object]) -> bytes:
    """A table of columns that are written once and repeated by number."""
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, compression="zstd", use_dictionary=True)
    return out.getvalue()


@pytest.mark.parametrize("packing", ["", pytest.param("gzip", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["rows", "unread_column", "numbers"])
def test_a_parquet_bomb_is_held_to_the_ratio_of_gzip(tmp_path, packing, kind):
    """A dictionary and run lengths make gigabytes of kilobytes; so does a column that no format reads."""
    rows, text = 200_000, "a" * 700
    columns = {"prompt": ["q"] * rows, "chosen": [text] * rows, "rejected": ["b"] * rows}
    if kind == "unread_column":
        columns["beside"] = columns.pop("chosen")
        columns["chosen"] = ["c"] * rows
    if kind == "numbers":
        columns["chosen"] = ["c"] * rows
        columns["list"] = pa.array([[7] * 300] * rows, pa.list_(pa.int8()))
    data = spread(**columns)
    assert len(data) < 300_000
    path = tmp_path / "bomb"
    path.write_bytes(gzip.compress(data) if packing else data)
    began = time.monotonic()
    report = check_file(path)
    assert report.error.code == "decompression_limit"
    assert "200 times its size" in report.error.message
    assert report.counts.records * 700 < 80 << 20
    assert time.monotonic() - began < 10


def test_a_parquet_reader_without_memory_says_so(monkeypatch):
    monkeypatch.setattr(parquet_rows, "MEMORY", 600 << 20)
    rows = [{"prompt": "q", "chosen": "a" * (100 << 20), "rejected": "b" * (100 << 20)}]
    report = check(parquet(rows, compression="zstd", use_dictionary=False))
    assert report.error.code == "decompression_limit"
    assert "row groups" in report.error.message


def test_a_reader_that_dies_is_a_damaged_file(monkeypatch, tmp_path):
    """A crash in the library, as a signal: played by a reader that kills itself."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    (tmp_path / "python").write_text("#!/bin/sh\nkill -SEGV $$\n")
    (tmp_path / "python").chmod(0o755)
    report = check(parquet(ROWS))
    assert (report.error.code, "-11" in report.error.message) == ("container_damaged", True)


def test_parquet_on_disk_is_read_in_place(tmp_path):
    path = tmp_path / "pairs.jsonl"  # by content, not by name
    path.write_bytes(parquet(ROWS))
    report, found = canonical(path)
    assert report.container == "parquet"
    assert found == canonical(jsonl(ROWS))[1]


@pytest.mark.parametrize("mapping", [None, {"prompt": "asked", "chosen": "good", "rejected": "bad"}])
def test_messages_as_python_shows_them_are_no_json(mapping):
    rows = [{name: str(value) for name, value in conversational(n).items()} for n in range(12)]
    if mapping:
        rows = [dict(zip(mapping.values(), row.values(), strict=True)) for row in rows]
    report = check(table(rows), mapping=mapping)
    assert [(each.line, each.code, each.path) for each in report.errors] == [
        (n, "json_invalid", next(iter(rows[0]))) for n in range(2, 14)
    ]
    assert "json.dumps" in report.errors[0].message


def test_other_columns_of_structures_are_no_json_either():
    rows = [{**triple(n), "tools": str([{"type": "function"}])} for n in range(12)]
    report = check(table(rows))
    assert {(each.code, each.path) for each in report.errors} == {("json_invalid", "tools")}


def test_an_answer_in_python_stays_the_text_that_it_is():
    rows = [{**triple(n), "chosen": f"{{'a': {n}}}", "meta": "{'by': 1}"} for n in range(12)]
    assert canonical(table(rows))[1] == canonical(jsonl(rows))[1]


def test_a_messages_column_of_csv_with_tool_calls():
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    rows = [
        {
            "prompt": [turn("user", f"{n} + 1?"), {"role": "assistant", "content": "", "tool_calls": [call]},
                       turn("tool", str(n + 1), tool_call_id="c1")],
            "chosen": [turn("assistant", f"{n + 1}")],
            "rejected": [turn("assistant", "No idea.")],
        }
        for n in range(12)
    ]  # fmt: skip
    report, found = canonical(table(rows))
    assert report.format == "trl_conversational"
    assert found == canonical(jsonl(rows))[1]
    assert found == canonical(parquet(rows))[1]


@pytest.mark.parametrize("column", ["chosen", "messages", "score_chosen"])
def test_a_cell_loses_no_value_in_silence(column):
    """Of a key that is there twice one value would be lost; a text that only looks like JSON stays what it is."""
    twice = '[{"role": "assistant", "content": "a", "content": "b"}]'
    rows = [conversational(n) for n in range(12)]
    rows[5] = {**rows[5], column: twice if column != "score_chosen" else "[" * 100_000}
    report = check(table(rows))
    if column == "score_chosen":
        assert report.usable
    else:
        assert [(each.line, each.code, each.path) for each in report.errors] == [(7, "json_invalid", column)]
    texts = [triple(n) | {"chosen": '{"a": 1, "a": 2}'} for n in range(12)]
    assert canonical(table(texts))[1][0]["chosen"][0]["content"] == '{"a": 1, "a": 2}'
