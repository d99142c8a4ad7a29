"""The checks of preference data: what each is called, from which value on it warns or blocks, and what to do about it.

One table for whoever computes them: `preferences.checks` at upload, the trainer's inspection and its reference pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.contract.finding import Example, Finding, Place, Severity

Stage = Literal["upload", "inspection", "reference"]
EXAMPLES = 20


@dataclass(frozen=True)
class CheckFacts:
    """`warn` and `block` are the values beyond which it does; `warn_below` is the lower end where both ends are bad.

    `at`: the values themselves are bad too, but for 0.
    """

    title: str
    unit: str
    action: str
    warn: float | None = None
    block: float | None = None
    warn_below: float | None = None
    stage: Stage = "upload"
    at: bool = False

    def severity(self, value: float) -> Severity:
        if self.block is not None and self.beyond(value, self.block):
            return "block"
        if self.warn is not None and self.beyond(value, self.warn):
            return "warn"
        return "warn" if self.warn_below is not None and value < self.warn_below else "info"

    def beyond(self, value: float, limit: float) -> bool:
        return value > limit or (self.at and value == limit > 0)

    def threshold(self, value: float) -> float | None:
        """The one that the value is beyond, else the first that it would cross."""
        if self.block is not None and (self.warn is None or self.beyond(value, self.block)):
            return self.block
        if self.warn_below is None or self.warn is None:
            return self.warn if self.warn is not None else self.warn_below
        return self.warn if abs(value - self.warn) < abs(value - self.warn_below) else self.warn_below


CHECKS: dict[str, CheckFacts] = {
    "contradictions": CheckFacts(
        "Contradictions",
        "share",
        "Decide each listed prompt one way, or drop both records: they pull against each other.",
        block=0.01,
    ),
    "secrets": CheckFacts(
        "Secrets",
        "share",
        "Remove the keys from the listed records and revoke them: a model can repeat what it was trained on.",
        block=0.0,
    ),
    "train_validation_leakage": CheckFacts(
        "Train / validation leakage",
        "share",
        "Take the listed validation prompts out of one of the two files, or the held-out figures mean nothing.",
        block=0.0,
    ),
    "ties_and_weak_margins": CheckFacts(
        "Ties and weak margins",
        "share",
        "Turn the listed pairs round or drop them: their scores say the opposite of their choice.",
        block=0.01,
    ),
    "trivially_separable": CheckFacts(
        "Trivially separable",
        "AUC",
        "Balance the named surface feature between chosen and rejected, or the model learns it instead of the "
        "preference.",
        warn=0.80,
        block=0.98,
    ),
    "annotator_agreement": CheckFacts(
        "Annotator agreement",
        "alpha",
        "Look at the listed annotators and at the guideline; train with soft labels or label_smoothing meanwhile.",
        warn_below=0.4,
    ),
    "cycles": CheckFacts(
        "Cycles",
        "prompts",
        "Judge the answers of the listed prompts again: each is better than another in a circle.",
        warn=0.0,
    ),
    "length_bias": CheckFacts(
        "Length bias",
        "P(chosen longer)",
        "Use a length-normalised loss (sigmoid_norm), or even out the lengths of chosen and rejected.",
        warn=0.65,
        warn_below=0.35,
    ),
    "format_bias": CheckFacts(
        "Format bias",
        "points",
        "Even out the named mark-up between chosen and rejected, unless the mark-up is what you want to teach.",
        warn=20.0,
    ),
    "refusal_skew": CheckFacts(
        "Refusal skew",
        "points",
        "Look whether the refusals are on the side that you want; the model learns to refuse, or never to.",
        warn=10.0,
    ),
    "position_bias": CheckFacts(
        "Position bias",
        "P(first wins)",
        "Show the answers in random order when they are judged; drop or judge again what was not.",
        warn=0.60,
        warn_below=0.40,
    ),
    "near_identical_pair": CheckFacts(
        "Near-identical pair",
        "share",
        "Drop the listed pairs, or make sure that their few differing characters are the point.",
        warn=0.02,
    ),
    "exact_duplicates": CheckFacts(
        "Exact duplicates",
        "share",
        "Drop the listed repeats; where a record should count more, give it a weight.",
        warn=0.01,
    ),
    "near_duplicates": CheckFacts(
        "Near duplicates",
        "share",
        "Keep one record of each listed group; repeats narrow what is learned.",
        warn=0.05,
    ),
    "prompt_coverage": CheckFacts(
        "Prompt coverage",
        "share of the top prompt",
        "Add other prompts, or thin out the one that fills the file.",
        warn=0.05,
    ),
    "languages": CheckFacts(
        "Languages",
        "share",
        "Look at the listed records: the answer is in another language than its prompt.",
        warn=0.05,
    ),
    "personal_data": CheckFacts(
        "Personal data",
        "share",
        "Replace the listed addresses and numbers by placeholders, unless they are public or made up.",
        warn=0.0,
    ),
    "effective_size": CheckFacts(
        "Effective size",
        "steps",
        "Collect more pairs, or set a smaller batch_size or more n_epochs.",
        warn_below=20,
    ),
    "label_balance": CheckFacts(
        "Label balance",
        "share wanted",
        "Train with the suggested desirable_weight and undesirable_weight.",
    ),
    "verifiable_answers": CheckFacts(
        "Verifiable answers",
        "share",
        "Where a program can check the answer, train on the answers that pass the check; DPO is the wrong tool.",
    ),
    "slices": CheckFacts("Slices", "slices", "Start with the worst slice; one source often spoils the whole."),
    "truncation": CheckFacts(
        "Truncation",
        "share",
        "Raise max_length or shorten the prompts: what is cut off is not learned.",
        warn=0.05,
        block=0.50,
        stage="inspection",
        at=True,
    ),
    "template_health": CheckFacts(
        "Template health",
        "share",
        "Mend the model's chat template or tokenizer; the listed records do not come out as they should.",
        warn=0.0,
        block=0.05,
        stage="inspection",
        at=True,
    ),
    "special_token_in_text": CheckFacts(
        "Special token in text",
        "share",
        "Take the model's special tokens out of the listed records: they fall out, since text would steer the model.",
        warn=0.0,
        stage="inspection",
    ),
    "reference_agreement": CheckFacts(
        "Reference agreement",
        "share",
        "Far from a half, look at the data: below, labels may be turned round; above, there is little left to learn.",
        warn=0.95,
        warn_below=0.30,
        stage="reference",
    ),
    "suspected_flips": CheckFacts(
        "Suspected flips",
        "share",
        "Review the listed pairs from the top; train with label_smoothing near this share.",
        stage="reference",
    ),
    "off_policy_distance": CheckFacts(
        "Off-policy distance",
        "nats a token",
        "Fine-tune on the chosen answers first, or add nll_weight: the model would hardly write them.",
        warn=4.0,  # a rule of thumb (docs/report.md): as one of 55 equal choices for each token
        stage="reference",
    ),
}


def finding(
    code: str,
    value: float,
    *,
    count: int = 0,
    share: float = 0.0,
    examples: Sequence[tuple[int | Place, str]] = (),
    severity: Severity | None = None,
    action: str | None = None,
    detail: dict[str, Any] | None = None,
) -> Finding:
    """As the table has it; `severity` where more than the value decides, `action` where the case asks for another."""
    facts = CHECKS[code]
    return Finding(
        code=code,
        title=facts.title,
        severity=severity or facts.severity(value),
        value=round(value, 4),
        unit=facts.unit,
        threshold=facts.threshold(value),
        count=count,
        share=round(share, 4),
        examples=[Example.at(place, note) for place, note in examples[:EXAMPLES]],
        action=facts.action if action is None else action,
        detail=detail or {},
    )


def unseen(code: str, reason: str, detail: dict[str, Any] | None = None) -> Finding:
    """A check that could not be made here, and why."""
    facts = CHECKS[code]
    return Finding(
        code=code, title=facts.title, severity="info", unit=facts.unit, detail={"reason": reason, **(detail or {})}
    )
