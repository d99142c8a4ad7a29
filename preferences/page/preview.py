"""Records as the trainer sees them, as a page: each token, whether the loss counts it, and what is cut off."""

from collections.abc import Sequence

from core.contract.preview import Preview, Said, Tokens
from preferences.page.style import CSS
from preferences.page.words import chip, document, side_by_side, text
from preferences.report import FileError

LEGEND = (
    '<p class="legend"><span><span class="piece in">counted by the loss</span></span>'
    '<span><span class="piece">seen, not counted</span></span>'
    '<span><span class="piece cut">cut off</span></span></p>'
)
# What a token without a visible character looks like.
SIGNS = {"\n": "↵\n", "\t": "⇥\t", "": "·"}


def page(
    filename: str, model: str, max_length: int, previews: Sequence[Preview], error: FileError | None = None
) -> str:
    """`error`: why no job can be made of this file with this model."""
    told = f"With {text(model)}, at most {max_length:,} tokens of prompt and answer. Each box is a token."
    if error:
        told = f"With {text(model)}: {chip(error.code, 'block')} {text(error.message)}"
    head = (
        f'<header><p class="eyebrow">Palate · what the trainer sees</p><h1>{text(filename)}</h1>'
        f'<p class="lead">{told}</p>{LEGEND if previews else ""}</header>'
    )
    cards = "".join(map(card, previews))
    none = '<p class="lead">No record can be shown.</p>'
    return document(f"Preview: {filename}", CSS, [head, f'<div class="cards">{cards}</div>' if cards else none])


def card(shown: Preview) -> str:
    chips = chip(f"left out: {shown.problem}", "block") if shown.problem else ""
    why = f'<p class="small">{text(shown.message)}</p>' if shown.message else ""
    why += "".join(f'<p class="small">{text(note)}</p>' for note in shown.notes)
    answers = "".join(map(answer, shown.answers))
    count = len(shown.prompt.token_ids) + shown.prompt.hidden
    return (
        f'<article class="card sample"><div class="prompt"><p class="who">line {shown.line}, {count:,} tokens of '
        f"prompt {chips}</p>{why}{prompt(shown)}</div>"
        f'<div class="{side_by_side(len(shown.answers))}">{answers}</div></article>'
    )


def prompt(shown: Preview) -> str:
    if shown.cut is None:
        return tokens(shown.prompt)
    cut = (shown.cut.at, "".join(piece(each, "cut") for each in shown.cut.pieces) + hidden(shown.cut))
    return tokens(shown.prompt, inserted=cut)


def answer(said: Said) -> str:
    tone = {"chosen": "good", "rejected": "other"}.get(said.name, "")
    counted = sum(said.mask)
    return (
        f'<div><p class="who">{chip(said.name, tone)} {len(said.token_ids) + said.hidden:,} tokens, {counted:,} '
        f"counted</p>{tokens(said, over=said.over)}</div>"
    )


def tokens(found: Tokens, *, over: int = 0, inserted: tuple[int, str] | None = None) -> str:
    """`over`: so many of the last ones lie beyond the limit; `inserted`: HTML before the token of that number."""
    last, half = len(found.pieces) - over, len(found.pieces) // 2
    parts = []
    for number, (said, bit) in enumerate(zip(found.pieces, found.mask, strict=True)):
        if inserted and inserted[0] == number:
            parts.append(inserted[1])
        if found.hidden and number == half:
            parts.append(hidden(found))
        parts.append(piece(said, "cut" if number >= last else "in" if bit else ""))
    if inserted and inserted[0] >= len(found.pieces):
        parts.append(inserted[1])
    return f'<p class="tokens" dir="auto">{"".join(parts)}</p>'


def piece(said: str, tone: str) -> str:
    return f'<span class="piece {tone}">{text(SIGNS.get(said, said))}</span>'


def hidden(found: Tokens) -> str:
    return f'<span class="small"> … {found.hidden:,} more … </span>' if found.hidden else ""
