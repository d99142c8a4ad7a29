"""Nearly equal records, nearly equal answers, and the two measures underneath."""

import json
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.contract.finding import Place
from preferences.checks import minhash
from preferences.checks.edits import distance, nearly
from preferences.checks.leakage import HeldOut
from preferences.checks.minhash import likeness, signatures, words
from preferences.checks.seen import Seen
from preferences.checks.similar import NearDuplicates
from tests.unit.preferences.checks.planted import answer, clean, dosed, found, lines, pair
from tests.unit.preferences.rows import check


def jaccard(one, other):
    ours, theirs = ({tuple(words[i : i + 5]) for i in range(len(words) - 4)} for words in (one.split(), other.split()))
    return len(ours & theirs) / len(ours | theirs)


def test_signatures_estimate_the_share_of_common_word_grams():
    draw = random.Random(0)
    errors = []
    for _ in range(60):
        text = " ".join(answer(draw) for _ in range(6)).split()
        changed = list(text)
        for place in draw.sample(range(len(text)), draw.randint(0, 8)):
            changed[place] = f"w{place}"
        one, other = " ".join(text), " ".join(changed)
        bands, _ = signatures([[words(one)], [words(other)]])
        errors.append(float(likeness(bands[0], bands[1])) - jaccard(one, other))
    assert abs(sum(errors) / len(errors)) < 0.03
    assert max(map(abs, errors)) < 0.25


def test_the_same_words_in_another_part_are_another_record():
    one, other = words("the first of the two answers here"), words("and quite another one that follows it")
    bands, sums = signatures([[one, other], [other, one], [one, other]])
    assert likeness(bands[0], bands[1]) < 0.2
    assert (sums[0] == sums[2], sums[0] == sums[1]) == (True, False)


def test_near_duplicates_are_found_with_their_dose_and_the_line_they_repeat():
    rows = clean(400)
    draw = random.Random(3)
    again = []
    for row in rows[:40]:
        said = (row["chosen"] * 3).split()
        again.append({**row, "chosen": " ".join([*said[:-1], draw.choice(["indeed.", "surely."])])})
    originals = [{**row, "chosen": row["chosen"] * 3} for row in rows[:40]] + rows[40:]
    near = found(originals + again)["near_duplicates"]
    assert near.severity == "warn"
    assert near.count == pytest.approx(40, abs=4)
    assert (near.examples[0].line, near.examples[0].note) == (401, "nearly line 1")


def test_a_clean_file_exact_repeats_and_turned_pairs_are_not_near():
    rows = clean(400)
    turned = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows[:30]]
    near = found(rows + rows[:40] + turned)["near_duplicates"]
    assert (near.severity, near.count) == ("info", 0)


def test_one_prompt_with_many_answers_is_not_near():
    rows = [{**row, "prompt": " ".join(each["prompt"] for each in clean(40))} for row in clean(200)]
    assert found(rows)["near_duplicates"].count == 0


def test_records_of_one_row_are_not_near_each_other():
    check = NearDuplicates()
    for place in range(4):
        check.see(
            Seen(None, Place(6, 7), "Which is the best of these?", [f"{'so ' * 60}{place}", "Another answer."], [1, 2])
        )
    assert check.findings()[0].count == 0


def test_records_of_one_line_are_near_each_other():
    rows = [{**row, "chosen": row["chosen"] * 3} for row in clean(60)]
    again = [{**row, "chosen": f"{row['chosen']} Indeed."} for row in rows[:10]]
    told = [check(json.dumps(rows + again, indent=indent).encode(), checks="all") for indent in (None, 1)]
    one, other = (next(each for each in report.checks if each.code == "near_duplicates") for report in told)
    assert one.count == other.count == 10


def test_what_is_not_compared_is_said():
    check = NearDuplicates(most=100)
    for number in range(150):
        check.see(
            Seen(None, Place(number, number + 1), f"Question {number}?", ["One answer.", "Another answer."], [1, 2])
        )
    (near,) = check.findings()
    assert (near.detail["of"], near.detail["not_compared"]) == (100, 50)


def test_long_records_do_not_wait_for_many(monkeypatch):
    batches, made = [], minhash.signatures
    monkeypatch.setattr(minhash, "signatures", lambda records: batches.append(len(records)) or made(records))
    monkeypatch.setattr(minhash, "BATCH_WORDS", 2_000)
    check, held = NearDuplicates(), HeldOut()
    for number in range(9):
        check.see(Seen(None, Place(number, number + 1), "Who?", [f"{number} " * 500, "Another answer."], [1, 2]))
    assert batches == [4, 4]
    for number in range(9):
        held.keep(pair({"prompt": f"{number} " * 500, "chosen": "a", "rejected": "b"}, number + 1))
    assert batches == [4, 4, 4, 4, 4, 4]
    held.compare(pair({"prompt": "Another.", "chosen": "a", "rejected": "b"}, 1))
    for number in range(9):
        held.compare(pair({"prompt": f"{number}, " * 500, "chosen": "a", "rejected": "b"}, number + 1))
    assert batches[6:] == [2, 6, 4, 4, 4]


def plain(one, other):
    row = list(range(len(other) + 1))
    for place, symbol in enumerate(one, 1):
        before, row[0] = row[0], place
        for at, each in enumerate(other, 1):
            before, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, before + (symbol != each))
    return row[-1]


@settings(max_examples=300, deadline=None)
@given(st.text("abc", max_size=20), st.text("abcd", max_size=20), st.integers(0, 20))
def test_the_distance_is_levenshtein_s_up_to_its_bound(one, other, most):
    true, got = plain(one, other), distance(one, other, most)
    assert got == true if true <= most else got > most


@settings(max_examples=300, deadline=None)
@given(st.text("ab ", max_size=60), st.text("ab ", max_size=60), st.sampled_from([0.5, 0.8, 0.95]))
def test_nearly_agrees_with_the_plain_distance(one, other, least):
    wanted = 1 - plain(one, other) / max(1, len(one), len(other)) >= least - 1e-9
    assert nearly(one, other, least) == wanted


def test_long_texts_are_judged_in_bounded_time():
    draw = random.Random(0)
    one = " ".join(draw.choice("abcdefghij") * draw.randint(1, 9) for _ in range(400_000))
    places = sorted(draw.sample(range(len(one)), 2_000))
    other = "".join(one[a + 1 : b] + "z" for a, b in zip([-1, *places], [*places, len(one)], strict=True))
    shuffled = "".join(draw.sample(one, len(one)))
    begin = time.process_time()
    nearly(one, other, 0.95)
    assert not nearly(one, shuffled, 0.95)
    assert time.process_time() - begin < 5


def slip(row, draw):
    place = draw.randrange(len(row["chosen"]))
    return {**row, "rejected": row["chosen"][:place] + "§" + row["chosen"][place:]}


def test_pairs_that_hardly_differ_are_counted():
    rows = clean(400)
    alike = found(dosed(rows, 0.05, slip))["near_identical_pair"]
    assert (alike.severity, alike.count, alike.share) == ("warn", 20, 0.05)
    hit = dosed(rows, 0.05, slip)
    assert all("§" in hit[line - 1]["rejected"] for line in lines(alike))
    assert found(rows)["near_identical_pair"].count == 0
