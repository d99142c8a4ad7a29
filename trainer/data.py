"""From preference records to tokenised examples: rendering, lengths, and what falls out for which reason."""

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from core.contract.errors import BadModel
from core.contract.losses import LOSSES, LossName
from core.contract.preference import AnyRecord, Message, Record
from core.contract.run_spec import Annotators, RowProblem, Ties
from trainer.examples import Turns, answers, comparisons, ties_left_out
from trainer.groups import group_of
from trainer.render import Answer, Rendered, Renderer
from trainer.unfit import Unfit

Truncation = Literal["drop", "keep_end", "error"]
# How many other records' answers are tried behind a prompt before a record falls out of `kto`.
TRIES = 8
INSTRUCTIONS = ("system", "developer")


@dataclass(frozen=True)
class Example:
    """What the loss compares: a pair, a list, or (kto) a single answer; the preferred one first.

    Each answer holds the ids of prompt + continuation; `prefix` tokens of prompt are common to all; `line` is that of
    the uploaded file, `number` the record's place among the records, `group` what the record shares with others of
    its prompt (trainer.groups). `label`: whether a single answer is wanted.
    """

    id: str
    line: int
    prefix: int
    answers: tuple[Answer, ...]
    weight: float = 1.0
    confidence: float = 1.0
    margin: float = 0.0
    label: bool = True
    number: int = 0
    group: str = ""

    @property
    def longest(self) -> int:
        return max(len(answer.ids) for answer in self.answers)

    @property
    def tokens(self) -> int:
        return sum(len(answer.ids) for answer in self.answers)


@dataclass(frozen=True)
class Terms:
    """What a run asks of each record."""

    max_length: int
    truncation: Truncation
    loss: LossName = "sigmoid"
    ties: Ties = "drop"
    annotators: Annotators = "ignore"


class Tokenised:
    """Examples in the order of the file; by their numbers the records that fell out, and those that were shortened.

    mismatched: for `kto` only, one for each example: another record's answer behind the same prompt. lengths: tokens
    of prompt and longest answer of each record that could be rendered, before anything was cut. unfit: numbers of the
    records that the template does not serve, and how. notes: by name (trainer.health) the lines of the records of which
    there is something to tell. kwargs: the template's variables that occur, as JSON.
    ties: two equal answers of which nothing is made.
    """

    def __init__(self, boundary: int | None = None) -> None:
        self.boundary = boundary
        self.examples: list[Example] = []
        self.mismatched: list[Example] = []
        self.fallen: dict[int, RowProblem] = {}
        self.shortened: list[int] = []
        self.lengths: list[int] = []
        self.unfit: dict[int, str] = {}
        self.notes: dict[str, list[int]] = {}
        self.kwargs: set[str] = set()
        self.ties = 0

    @property
    def problems(self) -> list[RowProblem]:
        return list(self.fallen.values())


def tokenise(
    renderer: Renderer,
    records: Iterable[AnyRecord],
    max_length: int,
    truncation: Truncation,
    loss: LossName = "sigmoid",
    seed: int = 0,
    share: tuple[int, int] = (0, 1),
    boundary: int | None = None,
    ties: Ties = "drop",
    annotators: Annotators = "ignore",
) -> Tokenised:
    """`share` (rank, ranks): every ranks-th record only. What becomes of a record depends on neither.

    `boundary`: no example has answers on both sides of so many tokens (trainer.folder.rope_boundary).
    """
    result = Tokenised(boundary)
    terms = Terms(max_length, truncation, loss, ties, annotators)
    rank, ranks = share
    if LOSSES[loss].unit == "single":
        known = list(records)
        others = partners(known, seed)
        for number in range(rank, len(known), ranks):
            take(result, renderer, known[number], number, terms, [known[i] for i in others[number]])
        return result
    for number, record in enumerate(records):
        if number % ranks == rank:
            take(result, renderer, record, number, terms, [])
    return result


def together(parts: Sequence[Tokenised]) -> Tokenised:
    """What several ranks made of their shares, in the file's order: a record's examples stay side by side."""
    whole = Tokenised()
    whole.examples = sorted((e for part in parts for e in part.examples), key=lambda e: e.number)
    whole.mismatched = sorted((e for part in parts for e in part.mismatched), key=lambda e: e.number)
    whole.fallen = dict(sorted(each for part in parts for each in part.fallen.items()))
    whole.kwargs = set().union(*(part.kwargs for part in parts))
    whole.ties = sum(part.ties for part in parts)
    return whole


def take(
    result: Tokenised,
    renderer: Renderer,
    record: AnyRecord,
    number: int,
    terms: Terms,
    others: Sequence[AnyRecord],
) -> None:
    """The record's examples, or why there are none."""
    loss = terms.loss
    result.ties += ties_left_out(record, loss, terms.ties)
    wanted = comparisons(record, loss, terms.ties, terms.annotators)
    if not wanted:
        return
    found: list[Example] = []
    mismatched: list[Example] = []
    group = group_of(record)
    try:
        given = answers(record)
        whole = renderer.render(record, record.prompt, given)
        result.lengths.append(whole.longest)
        noted, kwargs = whole.notes, whole.kwargs
        prompt, rendered = fit(renderer, record, given, whole, terms.max_length, terms.truncation)
        for i, comparison in enumerate(wanted):
            compared = tuple(rendered.answers[k] for k in comparison.order)
            if len({answer.ids for answer in compared}) < len(compared):
                raise Unfit("identical_after_truncation", "The tokens of two answers are the same.")
            refuse_both_sides(compared, result.boundary)
            name = record.id if i == 0 else f"{record.id}:{i}"
            line = record.origin.line
            about = (record.weight, comparison.confidence, comparison.margin, comparison.label, number, group)
            found.append(Example(name, line, rendered.prefix, compared, *about))
            if others:
                other = mismatch(renderer, record, prompt, comparison.order[0], others, terms.max_length)
                mismatched.append(Example(name, line, other.prefix, other.answers, number=number))
    except Unfit as unfit:
        result.fallen[number] = RowProblem(line=record.origin.line, code=unfit.code, message=unfit.message)
        if unfit.fault:
            result.unfit[number] = unfit.fault
        return
    if len(prompt) < len(record.prompt):
        result.shortened.append(number)
    for name in noted:
        result.notes.setdefault(name, []).append(record.origin.line)
    result.kwargs.add(kwargs)
    result.examples += found
    result.mismatched += mismatched


def refuse_both_sides(compared: Sequence[Answer], boundary: int | None) -> None:
    """Answers in one row get the rotary frequencies of the longest: only alike ones can be compared. Raises Unfit."""
    lengths = [len(answer.ids) for answer in compared]
    if boundary is not None and min(lengths) <= boundary < max(lengths):
        raise Unfit(
            "crosses_rope_boundary",
            f"Its answers end at {min(lengths)} and {max(lengths)} tokens, but beyond {boundary} the model computes "
            f"positions otherwise: they cannot be compared. Set max_length to {boundary}, or shorten it.",
        )


def fit(
    renderer: Renderer,
    record: Record,
    given: Sequence[Turns],
    whole: Rendered,
    max_length: int,
    truncation: Truncation,
) -> tuple[Sequence[Message], Rendered]:
    """The prompt, or what is left of it, and all answers behind it, at most `max_length` tokens with the prompt.

    `whole`: the record as rendered. Raises Unfit; answers are never cut, nor are raw texts, which have no turns.
    """
    if whole.longest <= max_length:
        return record.prompt, whole
    if truncation != "keep_end" or record.raw_text:
        raise Unfit("too_long", f"Prompt and answer have {whole.longest} tokens; max_length is {max_length}.")
    cuts = turn_starts(record.prompt)
    # The longest that fits: steps that double, then halves, since each look costs a rendering of the whole record.
    least, most, step = 0, None, 1
    found: Rendered | Unfit = whole
    while most is None or most - least > 1:
        at = min(least + step, len(cuts)) if most is None else (least + most) // 2
        if at == least:
            assert isinstance(found, Rendered)
            raise Unfit(
                "prompt_fills_context",
                f"The last turn and the answer have {found.longest} tokens; max_length is {max_length}.",
            )
        tried = attempted(renderer, record, without_oldest(record.prompt, cuts[at - 1]), given)
        if isinstance(tried, Rendered) and tried.longest > max_length:
            least, step = at, 2 * step
            found = tried if most is None else found
        else:
            most, found = at, tried
    if isinstance(found, Unfit):
        raise found
    return without_oldest(record.prompt, cuts[most - 1]), found


def attempted(
    renderer: Renderer, record: Record, prompt: Sequence[Message], given: Sequence[Turns]
) -> Rendered | Unfit:
    try:
        return renderer.render(record, prompt, given)
    except Unfit as unfit:
        return unfit


def partners(records: Sequence[AnyRecord], seed: int) -> list[list[int]]:
    """For each record the others whose answers stand for "any answer" behind its prompt (KTO's z0), first choice first.

    Fixed by the seed and the records' ids, the same on every rank and in every epoch.
    """
    digest = hashlib.sha256("\n".join([str(seed), *(record.id for record in records)]).encode()).digest()
    circle = list(range(len(records)))
    random.Random(int.from_bytes(digest, "big")).shuffle(circle)
    tries = min(TRIES, len(circle) - 1)
    found: list[list[int]] = [[] for _ in records]
    for place, index in enumerate(circle):
        found[index] = [circle[(place + step) % len(circle)] for step in range(1, tries + 1)]
    return found


def mismatch(
    renderer: Renderer,
    record: Record,
    prompt: Sequence[Message],
    number: int,
    others: Sequence[AnyRecord],
    max_length: int,
) -> Rendered:
    """Another record's answer behind this prompt, the first of them that fits."""
    for other in others:
        theirs = answers(other)
        rendered = renderer.render(record, prompt, [theirs[min(number, len(theirs) - 1)]])
        if rendered.longest <= max_length:
            return rendered
    raise Unfit("too_long", f"No other record's answer fits behind this prompt; max_length is {max_length}.")


def turn_starts(prompt: Sequence[Message]) -> list[int]:
    """Places of the user messages behind which a prompt can go on without what stands before, but for instructions."""
    talk = [place for place, message in enumerate(prompt) if message.role not in INSTRUCTIONS]
    return [place for place in talk[1:] if prompt[place].role == "user"]


def without_oldest(prompt: Sequence[Message], start: int) -> Sequence[Message]:
    """From `start` on; system messages stay."""
    kept = [message for message in prompt if message.role in INSTRUCTIONS]
    return [*kept, *(message for message in prompt[start:] if message.role not in INSTRUCTIONS)]


def make_renderer(tokenizer: Any, end_ids: Iterable[int], clock: datetime | None = None) -> Renderer:
    """`end_ids`: where the model stops by its folder; `clock`: what a template that asks for the time is told.

    Raises BadModel where the tokenizer cannot do what every run needs; a chat template, only some records do.
    """
    if not tokenizer.is_fast:
        raise BadModel("The model's tokenizer has no tokenizer.json.", code="slow_tokenizer", param="model")
    if tokenizer.eos_token_id is None:
        raise BadModel("The model's tokenizer names no EOS token.", code="no_eos_token", param="model")
    stops = frozenset(end_ids)
    return Renderer(tokenizer, stops | {tokenizer.eos_token_id}, stops, clock)
