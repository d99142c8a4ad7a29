"""Text from a file as text of a page: whatever it says, it stays text."""

from collections.abc import Iterable
from html import escape

# Directions that a text would force on what stands behind it, and halves of characters.
_UNSEEN = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xD800, 0xE000)], "\ufffd")
_UNSEEN |= {code: "\ufffd" for code in range(32) if chr(code) not in "\t\n"} | {0x7F: "\ufffd"}


def text(value: object) -> str:
    """Safe between tags and in a quoted attribute."""
    return escape(str(value).translate(_UNSEEN))


def number(value: float) -> str:
    """Whole with commas, else three digits that matter."""
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def chip(words: str, tone: str = "") -> str:
    return f'<span class="chip {tone}">{text(words)}</span>'


def table(columns: Iterable[str], rows: Iterable[Iterable[object]], *, right: Iterable[int] = ()) -> str:
    """Cells are text of the file or figures; `right` are the columns of figures. No columns: no head."""
    ends = set(right)
    names = list(columns)

    def cells(tag: str, values: Iterable[object]) -> str:
        return "".join(
            f'<{tag} class="n">{text(value)}</{tag}>' if place in ends else f"<{tag}>{text(value)}</{tag}>"
            for place, value in enumerate(values)
        )

    head = f"<thead><tr>{cells('th', names)}</tr></thead>" if names else ""
    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="scroll"><table>{head}<tbody>{body}</tbody></table></div>'


def section(title: str, *parts: str, lead: str = "") -> str:
    told = f'<p class="lead">{text(lead)}</p>' if lead else ""
    return f"<section><h2>{text(title)}</h2>{told}{''.join(parts)}</section>"


def side_by_side(answers: int) -> str:
    """The class of what holds so many answers."""
    return "pair" if answers > 1 else "pair alone"


def folded(title: str, body: str) -> str:
    return f"<details><summary>{text(title)}</summary>{body}</details>"


def document(title: str, css: str, body: Iterable[str]) -> str:
    """A page that stands alone: nothing is loaded from anywhere, nothing runs."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{text(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<style>{css}</style></head>\n<body><main>\n" + "\n".join(body) + "\n</main></body></html>\n"
    )
