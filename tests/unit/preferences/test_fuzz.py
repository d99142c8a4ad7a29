import gzip
import io
import json
import unicodedata

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.contract.preference import AnyRecord, Message, parse_record
from preferences.faults import HINTS
from preferences.limits import Limits
from tests.unit.preferences.rows import BUILDERS, check, jsonl, openai, turn

FILE_CODES = {
    "too_few_pairs", "too_many_bad_lines", "file_empty", "container_unknown", "container_damaged",
    "decompression_limit", "format_unknown", "format_mixed", "utf8_invalid",
}  # fmt: skip
LIMITS = Limits(line=2048, unpacked=1 << 20, ratio_from=1 << 16, sample_rows=5)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
values = st.recursive(scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3))
roles = st.sampled_from(["system", "developer", "user", "assistant", "tool", "human", "", None])
messages = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "role": roles,
            "content": st.text(max_size=8) | values,
            "tool_calls": values,
            "tool_call_id": st.just("c1") | values,
            "refusal": values,
        },
    )
    | values,
    max_size=4,
)
dialogues = st.lists(st.sampled_from(["\n\nHuman:", "\n\nAssistant:", " hi", "", "\n"]), max_size=8).map("".join)
sides = messages | dialogues | values
keys = ["prompt", "question", "input", "system", "chosen", "rejected", "preferred_output", "non_preferred_output",
        "completion", "label", "kto_tag", "messages", "responses", "ratings", "instruction", "chosen_response",
        "rejected_response", "rejected_messages", "conversations", "contents", "completions", "context", "history",
        "response1", "response2", "overall_preference", "score_chosen", "score_rejected", "annotators"]  # fmt: skip
rows = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(keys, sides)
    | {"input": st.fixed_dictionaries({"messages": messages}, optional={"tools": values}) | sides}
    | {"tools": values, "id": values, "meta": values, "weight": values, "confidence": values, "margin": values}
    | {"label": st.booleans() | values, "completion": st.text(max_size=8) | sides, "ratings": st.lists(scalars)}
    | {"answers": st.lists(st.fixed_dictionaries({"answer": sides, "rank": scalars}) | values, max_size=4) | values},
)


def usable(record: AnyRecord) -> bool:
    """What a loss could be made of: something asked, and answers that speak and differ to a reader."""
    answers = getattr(record, "completions", None) or [
        answer for name in ("chosen", "rejected", "completion") if (answer := getattr(record, name, None))
    ]
    asked = record.prompt[-1]
    spoken = [(answer[-1].content or "").strip() or answer[-1].tool_calls for answer in answers]
    turns = [(answer[0].role, answer[-1].role) for answer in answers]
    inside = {turn.role for answer in answers for turn in answer}
    return (
        asked.role in ("user", "tool")
        and (asked.role == "tool" or (asked.content or "").strip() != "")
        and set(turns) == {("assistant", "assistant")}
        and not inside & {"system", "developer"}
        and all(spoken)
        and len({read(answer) for answer in answers}) == len(answers)
    )


def read(answer: list[Message]) -> str:
    """As a reader sees it: white space and Unicode's several spellings of a letter are no difference."""
    folded = [
        turn.model_copy(update={"content": unicodedata.normalize("NFC", " ".join((turn.content or "").split()))})
        for turn in answer
    ]
    return json.dumps([turn.model_dump() for turn in folded], sort_keys=True)


@pytest.mark.parametrize(
    ("changes", "is_so"),
    [
        ({}, True),
        ({"rejected": [("assistant", " It  is\u00a01.\n")]}, False),
        ({"chosen": [("assistant", "caf\u00e9")], "rejected": [("assistant", "cafe\u0301")]}, False),
        ({"rejected": [("assistant", "it is 1.")]}, True),
        ({"prompt": [("user", "?"), ("assistant", "!")]}, False),
        ({"prompt": [("system", "?")]}, False),
        ({"prompt": [("user", " ")]}, False),
        ({"rejected": [("assistant", "No."), ("user", "Why?")]}, False),
        ({"rejected": [("user", "Why?"), ("assistant", "No.")]}, False),
        ({"rejected": [("assistant", " ")]}, False),
    ],
)
def test_the_judge_is_no_rubber_stamp(changes, is_so):
    said = {"prompt": [("user", "?")], "chosen": [("assistant", "It is 1.")], "rejected": [("assistant", "No.")]}
    turns = {name: [turn(*each) for each in said] for name, said in (said | changes).items()}
    record = {"id": "1", "kind": "pair", "origin": {"line": 1, "format": "test"}} | turns
    assert usable(parse_record.validate_python(record)) is is_so


def test_the_judge_compares_the_last_answers_of_a_ranking():
    answers = [[turn("assistant", text)] for text in ("a", "b", " b")]
    record = {"id": "1", "kind": "ranking", "origin": {"line": 1, "format": "test"}, "prompt": [turn("user", "?")]}
    for known in (2, 3):
        record |= {"completions": answers[:known], "ranks": [1, 2, 3][:known]}
        assert usable(parse_record.validate_python(record)) is (known == 2)


def judged(data: bytes, **options) -> None:
    canonical = io.BytesIO()
    report = check(data, limits=LIMITS, canonical=canonical, **options)
    assert report.error is None or report.error.code in FILE_CODES
    assert (report.digest is None) == (report.error is not None)
    counts = report.counts
    ties = counts.ties if report.kind == "pair" else 0
    assert counts.pairs + ties + counts.unpaired + counts.rankings == counts.useless + counts.usable
    assert counts.records >= counts.bad + counts.useless + counts.usable
    assert (counts.desirable + counts.undesirable) == counts.unpaired
    assert sum(report.errors_by_code.values()) == counts.bad + counts.useless
    for error in report.errors:
        assert error.code in HINTS
        assert error.line >= 1
        assert error.column is None or error.column >= 1
        assert len(error.excerpt) <= 200
    json.loads(report.model_dump_json())
    kept = zstandard.ZstdDecompressor().decompressobj().decompress(canonical.getvalue()).splitlines()
    assert len(kept) == counts.usable
    for line in kept:
        assert usable(parse_record.validate_json(line))


@QUICK
@given(st.binary(max_size=400))
def test_any_bytes(data):
    judged(data)


@QUICK
@given(
    st.sampled_from([b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd", b"[", b"{", b"\xef\xbb\xbf[", b"\x50\x2a\x4d\x18"]),
    st.binary(max_size=300),
)
def test_any_bytes_after_a_promising_start(start, data):
    judged(start + data)


@QUICK
@given(st.text(alphabet='{}[]",:\\ \n\r\tau0d8eNaN1-.é', max_size=300))
def test_any_text_of_json_marks(text):
    judged(text.encode())
    judged(b"[" + text.encode() + b"]")
    judged(jsonl([openai(n) for n in range(6)]) + text.encode())


@QUICK
@given(st.sampled_from(list(BUILDERS)), rows)
def test_any_row_in_every_format(name, row):
    judged(jsonl_loose([row] * 3), format=name)


@QUICK
@given(st.lists(rows, max_size=6), st.booleans())
def test_any_rows_detected(found, as_array):
    judged(json.dumps(found).encode() if as_array else jsonl_loose(found), on_error="skip", max_bad_fraction=1.0)


@QUICK
@given(st.integers(0, 10_000), st.integers(1, 255), st.sampled_from([bytes, gzip.compress, zstandard.compress]))
def test_a_good_file_with_one_byte_changed(place, mask, pack):
    data = bytearray(pack(jsonl([openai(n) for n in range(12)])))
    data[place % len(data)] ^= mask
    judged(bytes(data))
    judged(bytes(data[: place % len(data)]))


@QUICK
@given(st.lists(rows, max_size=4), st.booleans())
def test_an_array_and_its_lines_are_judged_alike(found, pretty):
    text = json.dumps(found, indent=2 if pretty else None).encode()
    ours, theirs = check(jsonl_loose(found)), check(text)
    if found:
        assert ours.errors_by_code == theirs.errors_by_code
        assert ours.counts.model_dump(exclude={"lines"}) == theirs.counts.model_dump(exclude={"lines"})


def jsonl_loose(found: list[object]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in found)
