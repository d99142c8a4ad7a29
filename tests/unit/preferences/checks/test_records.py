"""Languages, scores, people, slices, labels, size, and answers that can be checked: a dose each, and a clean twin."""

import random

import pytest

from core.contract.preference import Annotator, Message, Origin, RankingRecord, TieRecord
from preferences.checks.run import Checks
from preferences.checks.sample import Sample
from preferences.checks.verifiable import checkable
from tests.unit.preferences.checks.planted import clean, dosed, found, lines, pair, quickly, seen

GERMAN = "Das weiß ich leider nicht genau, aber die alte Brücke am Hafen wurde nach dem langen Winter neu gebaut. "


def test_answers_in_another_language_are_counted():
    rows = dosed(clean(300), 0.10, lambda row, draw: {**row, "chosen": GERMAN * 2})
    tongues = found(rows)["languages"]
    assert tongues.severity == "warn"
    assert tongues.value == pytest.approx(0.10, abs=0.02)
    assert set(lines(tongues)) <= {at for at, row in enumerate(rows, 1) if row["chosen"].startswith("Das")}
    assert tongues.examples[0].note == "asked in en, answered in de"
    assert tongues.detail["answers"]["en"] == pytest.approx(0.95, abs=0.03)


def test_a_clean_file_and_a_translation_are_no_slips():
    assert found(clean(300))["languages"].count == 0
    rows = dosed(
        clean(300), 0.10, lambda row, draw: {**row, "chosen": GERMAN, "prompt": f"Translate to German: {row['prompt']}"}
    )
    assert found(rows)["languages"].count == 0


def scored(row, line, against):
    ours, theirs = (2.0, 7.5) if against else (8.0, 3.0)
    return pair(row, line, margin=abs(ours - theirs), meta={"score_chosen": ours, "score_rejected": theirs})


@pytest.mark.parametrize(("dose", "severity"), [(0, "info"), (3, "info"), (20, "block")])
def test_scores_against_the_choice(dose, severity):
    finding = seen(scored(row, at, at <= dose) for at, row in enumerate(clean(400), 1))["ties_and_weak_margins"]
    assert (finding.severity, finding.count, finding.value) == (severity, dose, dose / 400)
    assert lines(finding) == list(range(1, dose + 1))


def test_ties_and_weak_margins_are_told_where_there_are_no_scores():
    records = [pair(row, at, margin=0.01 if at % 4 == 0 else 2.0) for at, row in enumerate(clean(300), 1)]
    ties = [TieRecord(**record.model_dump(exclude={"kind", "confidence", "margin"})) for record in records[:100]]
    finding = seen(ties + records[100:])["ties_and_weak_margins"]
    assert (finding.severity, finding.value) == ("info", None)
    assert finding.detail["ties"] == pytest.approx(1 / 3, abs=1e-3)
    assert finding.detail["weak"] == pytest.approx(0.25)
    assert "ties_and_weak_margins" not in seen(pair(row, at) for at, row in enumerate(clean(60), 1))


def judged(count, flips, biased=None, seed=0, people=3):
    """So many of five people judge each pair; each errs with `flips`, the one named `biased` picks at random."""
    draw = random.Random(seed)
    for line, row in enumerate(clean(count), 1):
        votes = []
        for person in draw.sample(["ann", "bo", "cy", "di", "ed"], people):
            wrong = draw.random() < (0.5 if person == biased else flips)
            votes.append(Annotator(id=person, choice="rejected" if wrong else "chosen"))
        yield pair(row, line, annotators=votes)


def test_people_who_agree_have_an_alpha_near_one():
    finding = seen(judged(400, 0.02))["annotator_agreement"]
    assert finding.severity == "info"
    # Both of two agree in (1 - e)^2 + e^2 of the cases, and a half would by chance.
    assert finding.value == pytest.approx(2 * (0.98**2 + 0.02**2) - 1, abs=0.04)
    assert finding.detail["against_choice"] == pytest.approx(0.02, abs=0.015)
    assert finding.detail["apart"] == []


@pytest.mark.parametrize("flips", [0.2, 0.3])
def test_disagreement_is_measured_with_its_rate_of_flips(flips):
    finding = seen(judged(500, flips))["annotator_agreement"]
    assert finding.severity == "warn"
    assert finding.value == pytest.approx(2 * ((1 - flips) ** 2 + flips**2) - 1, abs=0.08)
    assert finding.detail["against_choice"] == pytest.approx(flips, abs=0.04)


@pytest.mark.parametrize("people", [2, 3])
def test_the_one_who_picks_at_random_is_named(people):
    finding = seen(judged(400, 0.03, biased="cy", people=people))["annotator_agreement"]
    assert finding.severity == "warn"
    (odd,) = finding.detail["apart"]
    assert odd["id"] == "cy"
    assert odd["agrees"] == pytest.approx(0.5, abs=0.1)


def test_a_few_judgements_are_not_compared():
    finding = seen(judged(10, 0.3))["annotator_agreement"]
    assert finding.value is None
    assert "annotator_agreement" not in seen(pair(row, at) for at, row in enumerate(clean(60), 1))


def test_the_worst_slice_comes_first():
    def records():
        for at, row in enumerate(clean(400), 1):
            bad = at % 4 == 0
            yield pair(
                {**row, "chosen": row["chosen"] * 2} if bad else row, at, source="forum" if bad else f"crowd-{at % 3}"
            )

    finding = seen(records())["slices"]
    rows = finding.detail["slices"]
    assert (rows[0]["value"], rows[0]["records"], rows[0]["worst"]) == ("forum", 100, "length_bias")
    assert (finding.value, finding.severity) == (1, "info")
    assert rows[0]["chosen_longer"] > 0.9
    assert all(row["beyond"] <= 1 for row in rows[1:])


def test_a_key_that_names_every_record_is_no_slice():
    finding = seen(pair(row, at, group=f"g{at}") for at, row in enumerate(clean(100), 1))["slices"]
    assert finding.detail == {"slices": [], "too_many_values": ["group"]}


@pytest.mark.parametrize(
    ("wanted", "desirable", "undesirable"), [(200, 1.0, 1.0), (80, 4.0, 1.0), (320, 1.0, 3.0), (220, 1.0, 1.0)]
)
def test_labels_get_weights_that_balance_them(wanted, desirable, undesirable):
    rows = [
        {"prompt": row["prompt"], "completion": row["chosen"], "label": at < wanted}
        for at, row in enumerate(clean(400))
    ]
    finding = quickly(rows)["label_balance"]
    assert (finding.value, finding.count) == (wanted / 400, wanted)
    assert finding.detail == {"desirable_weight": desirable, "undesirable_weight": undesirable}
    said = desirable * wanted / (undesirable * (400 - wanted))
    assert 0.999 <= said <= 4 / 3 + 1e-3


def test_repeats_make_a_file_smaller():
    rows = clean(100)
    size = quickly(rows + rows[:50] + rows[:50])["effective_size"]
    assert (size.count, size.severity, size.detail["batch_size"]) == (100, "info", 5)
    checks = Checks("quick", batch_size=16)
    for at, row in enumerate(rows):
        checks.see(pair(row, at + 1), at)
    few = next(each for each in checks.findings() if each.code == "effective_size")
    assert (few.value, few.severity, few.threshold) == (7, "warn", 20)


@pytest.mark.parametrize(
    ("text", "is_so"),
    [
        ("So 6 x 7 is 42.\n#### 42", True),
        (r"Hence $x = \boxed{\frac{1}{2}}$.", True),
        ("Both halves weigh the same, so the answer is 12.", True),
        ("The final answer: (C)", True),
        ("B", True),
        ("-3.5", True),
        (" Yes", False),
        ("I would rather walk.", False),
        ("There are 12 months in a year, and each has its own charm.", False),
    ],
)
def test_what_a_program_can_check(text, is_so):
    assert checkable(text) == is_so


def test_a_file_of_sums_is_told_to_go_elsewhere():
    rows = [
        {"prompt": f"What is {at} + 5?", "chosen": f"It is simple.\n#### {at + 5}", "rejected": f"So\n#### {at + 6}"}
        for at in range(60)
    ]
    assert quickly(rows)["verifiable_answers"].value == 1.0
    assert quickly(clean(60))["verifiable_answers"].value == 0.0


def test_a_sample_is_drawn_evenly_from_the_whole():
    sample: Sample[int] = Sample(500)
    for number in range(20_000):
        if (place := sample.place()) is not None:
            sample.put(place, number)
    assert len(set(sample.held)) == 500
    assert sum(sample.held) / 500 == pytest.approx(10_000, rel=0.1)


def test_full_orders_and_single_winners_are_told_apart():
    def ranking(at, ranks):
        said = [[Message(role="assistant", content=f"Answer {name} to {at}.")] for name in "abcd"]
        asked = [Message(role="user", content=f"Question {at}?")]
        return RankingRecord(
            id=f"r{at}", prompt=asked, completions=said, ranks=ranks, origin=Origin(line=at, format="test")
        )

    full = seen(ranking(at, [1, 2, 3, 4]) for at in range(1, 60))["ties_and_weak_margins"].detail
    won = seen(ranking(at, [1, 2, 2, 2]) for at in range(1, 60))["ties_and_weak_margins"].detail
    assert (full["full_orders"], full["ties"]) == (1.0, 0.0)
    assert (won["full_orders"], won["ties"]) == (0.0, 1.0)
