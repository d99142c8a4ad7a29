"""Checks of the data report that need the tokenizer: what the length limit and the chat template do to the records."""

from collections import Counter
from typing import Any, NamedTuple

from core.contract.finding import Finding, Severity
from core.contract.findings import CHECKS, finding
from trainer.data import Tokenised
from trainer.lengths import nearest_rank
from trainer.render import Renderer

# What the length limit does to a record that falls out by it.
BY_LENGTH = ("too_long", "prompt_fills_context", "identical_after_truncation")
PERCENTILES = (0.5, 0.9, 0.95, 0.99, 1.0)


class Note(NamedTuple):
    told: str
    warns: bool = False


# What a rendering notes of a record that is trained on.
NOTES = {
    "boundary_retokenised": Note("The answer's first token would swallow the prompt's end: they are tokenised apart."),
    "clock": Note(
        "The chat template tells the time: this run is rendered as of {day}, a server will tell another day.", True
    ),
    "developer_as_system": Note("The chat template knows no developer: such messages are rendered as system messages."),
    "earlier_reasoning_left_out": Note("The reasoning of earlier turns is left out, as when the model is served."),
    "empty_reasoning": Note(
        "The template puts an empty block of reasoning before the answer, which the loss counts: give the answers "
        "`reasoning_content`, or a template that has the block in its generation prompt.",
        True,
    ),
    "end_token_appended": Note(
        "The template writes no end token behind an answer, so the tokenizer's is put there; stop at it.", True
    ),
    "last_turn_only": Note(
        "The template ends an answer only at the end of the conversation: of several answers the last is trained.", True
    ),
    "name_left_out": Note("The chat template leaves out the `name` of messages.", True),
    "preformatted": Note(
        "Prompts end in what the chat template writes behind them, as if it had been applied already: upload the file "
        "with --raw-text (`palate[raw_text]`) to train on the texts as they stand.",
        True,
    ),
    "prompt_as_served": Note(
        "The template writes the prompt otherwise once an answer follows: trained on is the prompt as it is served."
    ),
    "short_tool_call_ids": Note("The template wants ids of nine letters for tool calls: they are derived from yours."),
    "without_reasoning": Note("No answer has reasoning: rendered with enable_thinking false; serve it likewise."),
}


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
    """Records that the template does not serve, which fall out by line, and what is to be told of the others."""
    value = len(found.unfit) / max(1, records)
    ends = Counter(answer.ids[-1] for example in found.examples for answer in example.answers)
    unlisted = sorted(end for end in ends if end not in renderer.stops)
    told = [(name, lines) for name, lines in sorted(found.notes.items()) if lines]
    warned = [sentence(name, renderer) for name, _ in told if NOTES[name].warns]
    warned += [runs_on(end, renderer) for end in unlisted]
    notes = [(found.fallen[number].line, found.fallen[number].message) for number in sorted(found.unfit)]
    notes += [(lines[0], sentence(name, renderer)) for name, lines in told]
    severity: Severity | None = None
    if warned and not found.unfit:
        severity = "warn"
    detail: dict[str, Any] = {**Counter(found.unfit.values()), **{name: len(lines) for name, lines in told}}
    if told or unlisted:
        detail["end_tokens"] = {renderer.tokenizer.decode([end]): count for end, count in ends.most_common()}
    return finding(
        "template_health",
        value,
        count=len(found.unfit),
        share=value,
        examples=notes,
        severity=severity,
        action=" ".join([*([CHECKS["template_health"].action] if found.unfit else []), *warned]) or None,
        detail=detail,
    )


def runs_on(end: int, renderer: Renderer) -> str:
    """The exported model would not stop there."""
    tokens = renderer.tokenizer
    listed = ", ".join(f"{tokens.decode([stop])!r} ({stop})" for stop in sorted(renderer.stops)) or "none"
    return (
        f"Answers end in {tokens.decode([end])!r} ({end}), which is not among the end tokens of the model's "
        f"generation_config.json ({listed}): a server that goes by it runs on. Add {end} to `eos_token_id` there."
    )


def sentence(name: str, renderer: Renderer) -> str:
    return NOTES[name].told.format(day=f"{renderer.template.clock:%d %b %Y}")


def special_tokens(found: Tokenised, records: int) -> Finding:
    hit = [problem for problem in found.problems if problem.code == "special_token_in_text"]
    share = len(hit) / max(1, records)
    notes = [(problem.line, problem.message) for problem in hit]
    return finding("special_token_in_text", share, count=len(hit), share=share, examples=notes)
