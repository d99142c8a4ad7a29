"""Checks of the data report that need the tokenizer: what the length limit and the chat template do to the records."""

from collections import Counter

from core.contract.finding import Finding, Severity
from core.contract.findings import finding
from trainer.data import Tokenised
from trainer.lengths import nearest_rank
from trainer.render import Renderer

# What the length limit does to a record that falls out by it.
BY_LENGTH = ("too_long", "prompt_fills_context", "identical_after_truncation")
PERCENTILES = (0.5, 0.9, 0.95, 0.99, 1.0)


def checks(found: Tokenised, renderer: Renderer, records: int, limit: int, context: int) -> list[Finding]:
    return [truncation(found, limit, context), template(found, renderer, records), special_tokens(found, records)]


def truncation(found: Tokenised, limit: int, context: int) -> Finding:
    """Of the records that could be rendered, those that are shortened (`keep_end`) or fall out by their length."""
    fallen = {number: problem for number, problem in found.fallen.items() if problem.code in BY_LENGTH}
    lines = {example.number: example.line for example in found.examples}
    cut = sorted([*fallen, *found.shortened])
    value = len(cut) / max(1, len(found.lengths))
    ordered = sorted(found.lengths)
    detail = {
        **Counter(problem.code for problem in fallen.values()),
        "shortened": len(found.shortened),
        "max_length": limit,
        "percentiles": {f"p{round(100 * share)}": nearest_rank(ordered, share) for share in PERCENTILES if ordered},
    }
    notes = [
        (fallen[n].line, fallen[n].message) if n in fallen else (lines[n], "Its oldest turns are cut.") for n in cut
    ]
    action = remedy(nearest_rank(ordered, 0.99), limit, context) if cut else None
    return finding("truncation", value, count=len(cut), share=value, examples=notes, action=action, detail=detail)


def remedy(wanted: int, limit: int, context: int) -> str:
    if limit < wanted <= context:
        return f"Raise max_length to {wanted}, which 99 % of the records fit, or shorten the prompts."
    return "Shorten the listed records: answers are never cut, and what falls out is not learned."


def template(found: Tokenised, renderer: Renderer, records: int) -> Finding:
    """BOS twice, turns that change when others follow, text or tools left out; and an end token that is missing.

    A few records that the template does not serve fall out, by line, on their own. The tokenizer's own end token stands
    in for one that the template does not write, so that only warns.
    """
    value = len(found.unfit) / max(1, records)
    appended = renderer.appended / max(1, renderer.answered)
    detail = {**Counter(found.unfit.values()), "end_token_appended": round(appended, 4)}
    notes = [(found.fallen[number].line, found.fallen[number].message) for number in sorted(found.unfit)]
    severity: Severity | None = None
    action = None
    if appended and not found.unfit:
        severity = "warn"
        action = "The template writes no end token behind an answer, so the tokenizer's is put there; stop at it."
    return finding(
        "template_health",
        value,
        count=len(found.unfit),
        share=value,
        examples=notes,
        severity=severity,
        action=action,
        detail=detail,
    )


def special_tokens(found: Tokenised, records: int) -> Finding:
    hit = [problem for problem in found.problems if problem.code == "special_token_in_text"]
    share = len(hit) / max(1, records)
    notes = [(problem.line, problem.message) for problem in hit]
    return finding("special_token_in_text", share, count=len(hit), share=share, examples=notes)
