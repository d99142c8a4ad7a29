"""The verdict: gate, score, actions, and settings that a job may always be made with."""

import itertools

import pytest

from core.contract.advice import Recommended
from core.contract.choice import check_data
from core.contract.finding import Finding
from core.contract.findings import CHECKS, finding
from core.contract.job_spec import DpoHyperparameters
from preferences.checks.advice import KEPT, recommend, weigh
from tests.unit.preferences.checks.planted import clean, dosed, report

SETTINGS = ("loss", "label_smoothing", "nll_weight", "annotators")
COLUMNS = [[], ["weight"], ["confidence"], ["margin"], ["weight", "confidence", "margin"]]


def doubtful() -> dict[str, list[Finding]]:
    """What each kind of doubt may have found."""
    return {
        "length": [finding("length_bias", 0.9)],
        "annotators": [finding("annotator_agreement", 0.1, detail={"against_choice": 0.62})],
        "contradictions": [finding("contradictions", 0.2, share=0.2)],
        "scores": [finding("ties_and_weak_margins", 0.3, share=0.3, detail={"full_orders": 1.0})],
        "alike": [finding("near_identical_pair", 0.3, share=0.3)],
        "checkable": [finding("verifiable_answers", 0.8)],
        "balance": [finding("label_balance", 0.9, detail={"desirable_weight": 1.0, "undesirable_weight": 4.0})],
    }


@pytest.mark.parametrize("kind", ["pair", "ranking", "unpaired"])
@pytest.mark.parametrize("columns", COLUMNS, ids="+".join)
def test_every_recommendation_can_be_trained_with(kind, columns):
    if kind != "pair":
        columns = [each for each in columns if each == "weight"]
    doubts = doubtful()
    for size in range(4):
        for chosen in itertools.combinations(doubts, size):
            found = {each.code: each for name in chosen for each in doubts[name]}
            advice = recommend(found, kind, columns)
            asked = {name: value for name in SETTINGS if (value := getattr(advice, name)) is not None}
            check_data(DpoHyperparameters(**asked), kind, columns, param="training_file")
            assert bool(asked) <= bool(advice.why)


def test_doubts_choose_the_loss():
    doubts = doubtful()

    def loss(kind, *names, columns=()):
        advice = recommend({each.code: each for name in names for each in doubts[name]}, kind, columns)
        return advice.annotators or advice.loss, advice.label_smoothing

    assert loss("pair") == (None, None)
    assert loss("pair", "length") == ("sigmoid_norm", None)
    assert loss("pair", "annotators") == ("confidence", None)
    assert loss("pair", "annotators", "length", columns=["weight"]) == ("confidence", None)
    assert loss("pair", "annotators", columns=["confidence"]) == (None, None)
    assert loss("pair", "contradictions") == ("sigmoid", 0.1)
    assert loss("pair", "length", "contradictions") == ("sigmoid_norm", 0.1)
    assert loss("unpaired", "balance") == ("kto", None)
    assert loss("ranking", "scores")[0] == "plackett_luce"
    assert loss("ranking")[0] == "s_dpo"


def test_each_setting_of_a_recommendation_is_recommended_for_some_data():
    made = [recommend({each.code: each for each in found}, "pair", []) for found in doubtful().values()]
    assert {name for each in made for name in each.model_dump(exclude_none=True)} == {*SETTINGS, "why"}
    assert set(Recommended.model_fields) == {*SETTINGS, "why"}


def test_a_verifiable_answer_is_told_that_dpo_is_the_wrong_tool():
    assert "wrong tool" in recommend({"verifiable_answers": doubtful()["checkable"][0]}, "pair", []).why[-1]


def test_the_score_falls_with_every_finding_and_the_gate_is_the_worst():
    findings: list[Finding] = []
    score, gates = 100, []
    for code, value in [("exact_duplicates", 0.5), ("length_bias", 0.9), ("contradictions", 0.5), ("secrets", 0.1)]:
        findings.append(finding(code, value))
        verdict = weigh(findings, "pair", [])
        assert verdict.score < score
        score = verdict.score
        gates.append(verdict.gate)
    assert gates == ["warn", "warn", "block", "block"]
    assert score == round(100 * KEPT["warn"] ** 2 * KEPT["block"] ** 2)
    assert [each.split(":")[0] for each in verdict.top_actions] == ["Contradictions", "Secrets", "Length bias"]


def test_information_costs_nothing():
    verdict = weigh([finding("slices", 3), finding("prompt_coverage", 0.01)], "pair", [])
    assert (verdict.gate, verdict.score, verdict.top_actions) == ("pass", 100, [])


def test_a_clean_file_passes_and_a_skewed_one_is_told_what_to_train_with():
    assert report(clean(), checks="quick").verdict.gate == "pass"
    skewed = report(dosed(clean(), 0.8, lambda row, draw: {**row, "chosen": row["chosen"] * 2}), checks="quick")
    assert skewed.verdict.recommended.loss == "sigmoid_norm"
    assert skewed.checks[0].severity == skewed.verdict.gate


def test_all_codes_have_a_place_in_the_order():
    assert len(set(CHECKS)) == len(CHECKS)
