"""The table of checks: from which value on each is said to warn or block."""

import pytest

from core.contract.findings import CHECKS, finding, unseen


@pytest.mark.parametrize(
    ("code", "value", "severity", "threshold"),
    [
        ("contradictions", 0.01, "info", 0.01),
        ("contradictions", 0.011, "block", 0.01),
        ("exact_duplicates", 0.02, "warn", 0.01),
        ("trivially_separable", 0.79, "info", 0.80),
        ("trivially_separable", 0.81, "warn", 0.80),
        ("trivially_separable", 0.97, "warn", 0.80),
        ("trivially_separable", 0.99, "block", 0.98),
        ("length_bias", 0.5, "info", 0.35),
        ("length_bias", 0.66, "warn", 0.65),
        ("length_bias", 0.34, "warn", 0.35),
        ("annotator_agreement", 0.39, "warn", 0.4),
        ("annotator_agreement", 0.41, "info", 0.4),
        ("truncation", 0.51, "block", 0.50),
        ("reference_agreement", 0.29, "warn", 0.30),
        ("slices", 4, "info", None),
    ],
)
def test_severity_and_threshold_follow_the_value(code, value, severity, threshold):
    found = finding(code, value)
    assert (found.severity, found.threshold) == (severity, threshold)


def test_every_check_has_a_code_made_of_its_title_and_says_what_to_do():
    for code, facts in CHECKS.items():
        made = "".join(letter if letter.isalnum() else " " for letter in facts.title.lower())
        assert code == "_".join(made.split())
        assert facts.action.endswith(".")
        assert facts.unit


def test_at_most_twenty_examples_are_carried():
    assert len(finding("cycles", 1, examples=[(line, "") for line in range(50)]).examples) == 20


def test_a_check_that_was_not_made_says_why():
    found = unseen("trivially_separable", "too few")
    assert (found.severity, found.value, found.detail) == ("info", None, {"reason": "too few"})
