"""Records as a run sees them: the same rendering, told token by token."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from core.contract.preference import AnyRecord, PreferenceRecord, RankingRecord, TieRecord
from core.contract.preview import Compared, Cut, Preview, Said, Tokens
from core.contract.run_spec import InspectSpec, RowProblem
from trainer.data import Tokenised, fit
from trainer.examples import answers, by_rank, comparisons
from trainer.health import BY_LENGTH, sentence
from trainer.render import Rendered, Renderer, common

SHOWN = 20
# Of these, as many as there are are records of which something is cut, or all falls out.
CUT = 6
# Tokens shown of one stretch.
LONGEST = 1_000


def chosen_few(found: Tokenised) -> list[int]:
    """Numbers of the records to show: the first that are used, and some that are cut or too long, where there are."""
    fallen = [number for number, problem in found.fallen.items() if problem.code in BY_LENGTH]
    cut = [*found.shortened[: CUT - min(len(fallen), CUT // 2)], *fallen][:CUT]
    used = list(dict.fromkeys(example.number for example in found.examples if example.number not in cut))
    return sorted([*cut, *used[: SHOWN - len(cut)]])


def previews(
    renderer: Renderer,
    records: Iterable[AnyRecord],
    numbers: Sequence[int],
    fallen: Mapping[int, RowProblem],
    spec: InspectSpec,
    limit: int,
) -> Iterator[Preview]:
    """`numbers`: places of the wanted ones among the records, rising; `fallen`: why some of them fall out."""
    wanted = set(numbers)
    for number, record in enumerate(islice(records, max(numbers, default=-1) + 1)):
        if number in wanted:
            yield preview(renderer, record, fallen.get(number), spec, limit)


def preview(
    renderer: Renderer, record: AnyRecord, problem: RowProblem | None, spec: InspectSpec, limit: int
) -> Preview:
    given = answers(record)
    order = by_rank(record.ranks) if isinstance(record, RankingRecord) else tuple(range(len(given)))
    rendered = whole = renderer.render(record, record.prompt, given)
    cut = None
    if problem is None:
        _, rendered = fit(renderer, record, given, whole, limit, spec.truncation)
        cut = removed(renderer, whole, rendered) if rendered.prefix < whole.prefix else None
    head = rendered.answers[order[0]].ids[: rendered.prefix]
    return Preview(
        line=record.origin.line,
        kind=record.kind,
        prompt=Tokens(**stretch(renderer.tokenizer, head, [0] * len(head))),
        cut=cut,
        answers=[said(renderer, rendered, i, name(record, place), limit) for place, i in enumerate(order)],
        examples=[] if problem else examples(record, order, spec),
        weight=record.weight,
        notes=[sentence(each, renderer) for each in sorted(rendered.notes)],
        problem=problem and problem.code,
        message=problem and problem.message,
    )


def examples(record: AnyRecord, order: Sequence[int], spec: InspectSpec) -> list[Compared]:
    return [
        Compared(
            answers=[order.index(i) for i in each.order],
            confidence=each.confidence,
            margin=each.margin,
            label=each.label if len(each.order) == 1 else None,
        )
        for each in comparisons(record, spec.loss, spec.ties)
    ]


def name(record: AnyRecord, place: int) -> str:
    if isinstance(record, PreferenceRecord | TieRecord):
        return ("chosen", "rejected")[place]
    return str(place + 1) if isinstance(record, RankingRecord) else "completion"


def said(renderer: Renderer, rendered: Rendered, number: int, called: str, limit: int) -> Said:
    answer, prefix = rendered.answers[number], rendered.prefix
    mask = [0] * len(answer.ids)
    for start, end in answer.spans:
        mask[start:end] = [1] * (end - start)
    over = max(0, min(len(answer.ids) - limit, len(answer.ids) - prefix))
    return Said(name=called, over=over, **stretch(renderer.tokenizer, answer.ids[prefix:], mask[prefix:]))


def removed(renderer: Renderer, whole: Rendered, kept: Rendered) -> Cut:
    """What the prompt has lost: all between its common beginning and its common end.

    Turns begin alike, so it could as well be said to lie some tokens further left; then where a turn begins.
    """
    before, after = (each.answers[0].ids[: each.prefix] for each in (whole, kept))
    at = common(before, after)
    size = len(before) - at - common(before[at:][::-1], after[at:][::-1])
    starts = set(renderer.tokenizer.all_special_ids) - renderer.end_ids
    left = at
    while left > 0 and before[left - 1] == before[left - 1 + size]:
        left -= 1
    at = next((place for place in range(left, at) if before[place] in starts), at)
    lost = before[at : at + size]
    return Cut(at=at, **stretch(renderer.tokenizer, lost, [0] * size))


def stretch(tokenizer: Any, ids: Sequence[int], mask: Sequence[int]) -> dict[str, Any]:
    """The fields of Tokens."""
    hidden = max(0, len(ids) - LONGEST)
    half = LONGEST // 2
    parts = [slice(0, half), slice(len(ids) - half, len(ids))] if hidden else [slice(0, len(ids))]
    spelled = [piece for part in parts for piece in pieces(tokenizer, ids[part])]
    return {
        "text": "".join(spelled),
        "token_ids": [token for part in parts for token in ids[part]],
        "pieces": spelled,
        "mask": [bit for part in parts for bit in mask[part]],
        "hidden": hidden,
    }


def pieces(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """The text of each token behind the one before it: alone, some tokenizers would give it no leading space.

    Bytes of an unfinished character give none; the token that ends it has the character.
    """
    found: list[str] = []
    context, done = 0, 0
    for i in range(len(ids)):
        before = tokenizer.decode(ids[context:done], clean_up_tokenization_spaces=False)
        text = tokenizer.decode(ids[context : i + 1], clean_up_tokenization_spaces=False)
        if text.endswith("�") and i + 1 < len(ids):
            found.append("")
            continue
        found.append(text[len(before) :])
        context, done = done, i + 1
    return found
