"""From findings to a verdict: may one train on this, what to do first, and with which loss."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from core.contract.finding import Finding, Severity
from core.contract.findings import CHECKS
from core.contract.preference import Kind
from preferences.report import Recommended, Verdict

# What is left of the score after each finding; their product times 100, so that one more can only lower it.
KEPT: dict[Severity, float] = {"info": 1.0, "warn": 0.9, "block": 0.5}
RANK: dict[Severity, int] = {"block": 0, "warn": 1, "info": 2}
# Below this rate of wrong labels smoothing costs more than it saves; a half would say nothing about the order.
FLIPS_FROM, FLIPS_MOST = 0.05, 0.45
NLL_WEIGHT = 0.1
VERIFIABLE_FROM = 0.5


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    order = {code: place for place, code in enumerate(CHECKS)}
    return sorted(findings, key=lambda each: (RANK[each.severity], order[each.code]))


def weigh(findings: Sequence[Finding], kind: Kind, columns: Collection[str]) -> Verdict:
    """`score` is 100 x the product over the findings of 0.9 for a warning and 0.5 for a block."""
    ordered = worst_first(findings)
    score = 100.0
    for each in ordered:
        score *= KEPT[each.severity]
    worst = ordered[0].severity if ordered else "info"
    return Verdict(
        gate="pass" if worst == "info" else worst,
        score=round(score),
        top_actions=[f"{each.title}: {each.action}" for each in ordered if each.severity != "info"][:3],
        recommended=recommend({each.code: each for each in findings}, kind, columns),
    )


def recommend(found: Mapping[str, Finding], kind: Kind, columns: Collection[str]) -> Recommended:
    """Always settings that core.contract.choice accepts for such data."""
    advice = Recommended()
    if kind == "unpaired":
        _unpaired(advice, found)
    elif kind == "ranking":
        _ranking(advice, found)
    else:
        _pairs(advice, found, columns)
    if (checkable := found.get("verifiable_answers")) and (checkable.value or 0) >= VERIFIABLE_FROM:
        advice.why.append(
            f"{checkable.value:.0%} of the answers end in a result that a program can check: DPO is the wrong tool for "
            "these; train on answers that pass the check."
        )
    return advice


def _unpaired(advice: Recommended, found: Mapping[str, Finding]) -> None:
    advice.loss = "kto"
    advice.why.append("Single answers with a label: KTO is the loss that needs no pairs.")
    balance = found.get("label_balance")
    if balance and (weights := balance.detail) and {weights.get(name) for name in weights} - {1.0, None}:
        told = ", ".join(f"{name} {value:g}" for name, value in weights.items() if isinstance(value, float))
        if told:
            advice.why.append(f"The labels are not in balance: {told} would make up for it.")


def _ranking(advice: Recommended, found: Mapping[str, Finding]) -> None:
    orders = found["ties_and_weak_margins"].detail if "ties_and_weak_margins" in found else {}
    if orders.get("full_orders", 0.0) >= 0.5:
        advice.loss = "plackett_luce"
        advice.why.append("Answers in a full order: Plackett-Luce learns from the whole ranking at once.")
    else:
        advice.loss = "s_dpo"
        advice.why.append("One best answer among several: S-DPO sets it against all the others at once.")


def _pairs(advice: Recommended, found: Mapping[str, Finding], columns: Collection[str]) -> None:
    rate, source = flips(found)
    skewed = "length_bias" in found and found["length_bias"].severity != "info"
    if skewed:
        advice.loss = "sigmoid_norm"
        share = found["length_bias"].value or 0.0
        advice.why.append(f"Chosen is the longer answer in {share:.0%}: a loss by token does not learn the length.")
    if "confidence" in columns:
        advice.why.append("The data's own confidence serves as soft labels.")
    elif rate >= FLIPS_FROM and source == "annotators":
        advice.annotators = "confidence"
        if not skewed:
            advice.loss = "sigmoid"
        advice.why.append(
            f"Annotators name the other answer in {rate:.0%} of their judgements: the share of their votes is a "
            "record's soft label."
        )
    elif rate >= FLIPS_FROM:
        advice.label_smoothing = round(min(rate, FLIPS_MOST), 3)
        if not skewed:
            advice.loss = "sigmoid"
        advice.why.append(f"About {rate:.0%} of the labels are in doubt ({source}): label_smoothing allows for that.")
    near = found.get("near_identical_pair")
    if near and near.severity != "info":
        advice.nll_weight = NLL_WEIGHT
        advice.why.append(
            f"{near.share:.0%} of the pairs hardly differ: a little likelihood of chosen keeps it from falling with "
            "rejected."
        )


def flips(found: Mapping[str, Finding]) -> tuple[float, str]:
    """The largest measured rate of wrong labels, and what measured it."""
    rates: list[tuple[float, str]] = [(0.0, "")]
    if agreement := found.get("annotator_agreement"):
        rates.append((float(agreement.detail.get("against_choice", 0.0)), "annotators"))
    if opposed := found.get("contradictions"):
        # Of two records that contradict each other one is wrong.
        rates.append((opposed.share / 2, "contradictions"))
    if suspected := found.get("suspected_flips"):
        rates.append((suspected.share, "suspected flips"))
    if scores := found.get("ties_and_weak_margins"):
        rates.append((float(scores.value or 0.0), "scores"))
    return max(rates)
