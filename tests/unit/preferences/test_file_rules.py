import hashlib
import io

import pytest
import zstandard

from core.contract.errors import BadInput
from preferences.check import check_file
from tests.unit.preferences.rows import check, jsonl, openai, triple, turn


@pytest.mark.parametrize(("pairs", "code"), [(1, "too_few_pairs"), (9, "too_few_pairs"), (10, None), (100, None)])
def test_ten_pairs_are_the_least(pairs, code):
    report = check(jsonl([openai(n) for n in range(pairs)]))
    assert (report.error.code if report.error else None) == code
    assert ["few_pairs"] * (10 <= pairs < 100) == [warning.code for warning in report.warnings]
    assert (report.digest is None) == (code is not None)


def test_malformed_rows_refuse_the_file_unless_they_may_be_skipped():
    data = jsonl([openai(n) for n in range(95)]) + b"{x\n" * 5
    assert check(data).error.code == "too_many_bad_lines"
    assert check(data, max_bad_fraction=0.5).error.code == "too_many_bad_lines"
    assert check(data, on_error="skip").error.code == "too_many_bad_lines"
    assert check(data, on_error="skip", max_bad_fraction=0.049).error.code == "too_many_bad_lines"
    taken = check(data, on_error="skip", max_bad_fraction=0.05)
    assert taken.usable
    assert (taken.counts.records, taken.counts.bad, taken.counts.pairs) == (100, 5, 95)
    assert taken.status_details == "95 pairs taken; left out: 5 json_invalid."


def test_useless_rows_up_to_five_percent_are_left_out():
    same = openai() | {"preferred_output": [turn("assistant", "No idea.")]}
    taken = check(jsonl([openai(n) for n in range(95)] + [same] * 5))
    assert taken.usable
    assert taken.counts.identical_pairs == 5
    refused = check(jsonl([openai(n) for n in range(94)] + [same] * 6))
    assert refused.error.code == "too_many_bad_lines"


def test_a_file_of_nothing_but_broken_lines():
    report = check(b"{x\n" * 20)
    assert report.error.code == "too_many_bad_lines"
    assert report.format is None


@pytest.mark.parametrize(
    "options", [{"on_error": "maybe"}, {"max_bad_fraction": 1.5}, {"max_bad_fraction": float("nan")}]
)
def test_wrong_settings_are_the_callers_mistake(options):
    with pytest.raises(BadInput) as error:
        check(b"", **options)
    assert error.value.param in options


def test_warnings_of_kept_rows():
    rows = [openai(n) for n in range(120)]
    rows[4]["input"]["messages"] = [turn("user", "a"), turn("system", "b"), turn("user", "c")]
    assert [(w.code, w.count, w.lines) for w in check(jsonl(rows)).warnings] == [("system_in_middle", 1, [5])]
    repeated = {"prompt": "Say:", "chosen": "Say: yes", "rejected": "Say: no"}
    warnings = check(jsonl([triple(n) for n in range(120)] + [repeated])).warnings
    assert [(w.code, w.lines) for w in warnings] == [("prompt_repeated_in_completion", [121])]


def test_the_same_bytes_give_the_same_digest_with_or_without_a_target(tmp_path):
    data = jsonl([openai(n) | {"é": {"b": 1, "a": [None, 1.5]}} for n in range(50)])
    targets = [io.BytesIO(), io.BytesIO()]
    digests = {check(data, canonical=target).digest for target in targets} | {check(data).digest}
    assert len(digests) == 1
    assert targets[0].getvalue() == targets[1].getvalue()
    (tmp_path / "a.jsonl").write_bytes(data)
    report = check_file(tmp_path / "a.jsonl")
    assert {report.digest} == digests
    assert report.file == "a.jsonl"


def test_the_digest_is_that_of_the_uncompressed_lines():
    target = io.BytesIO()
    report = check(jsonl([openai(n) for n in range(50)]), canonical=target)
    plain = zstandard.ZstdDecompressor().decompressobj().decompress(target.getvalue())
    assert report.digest == hashlib.sha256(plain).hexdigest()


def test_the_digest_of_a_known_file_never_changes():
    report = check(jsonl([openai(n) for n in range(10)]))
    assert report.digest == "9c46ab59736b904d798c15cc0e6ec3acef5b3994dd2ce46195b9323d4001db5a"


def test_a_bad_line_is_told_while_the_rest_is_still_to_come():
    told = []

    class Source(io.RawIOBase):
        """Good lines without end until the bad one was told of."""

        def __init__(self):
            self.given = 0

        def read(self, size=-1):
            if told:
                return b""
            self.given += 1
            return b"{x\n" if self.given == 300 else jsonl([openai(n) for n in range(40)])

    report = check_file(Source(), checks="none", refused=told.append)
    assert [(error.line, error.code) for error in told] == [(299 * 40 + 1, "json_invalid")]
    assert report.errors == told
