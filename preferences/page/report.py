"""The report of a data file as one HTML page: what to do first, then what was found and where."""

from preferences.page import checks, contents
from preferences.page.style import CSS
from preferences.page.words import chip, document, number, section, text
from preferences.report import Report
from preferences.verdict import nouns

WORDS = {"pass": ("✓ pass", "good"), "warn": ("! look first", "warn"), "block": ("✕ blocked", "block")}
WORDY = ' class="words"'
NOT_USABLE = ("✕ not usable", "block")


def page(report: Report) -> str:
    """The whole document; what the report holds of the file is text in it, never markup."""
    body = (
        head(report),
        first(report),
        checks.section_of(report),
        contents.lengths(report),
        contents.inspected(report),
        checks.slices(report),
        contents.samples(report),
        contents.counts(report),
        contents.left_out(report),
        '<footer class="small">Written by Palate. Every figure is of the file as it was read; nothing was changed in '
        "it.</footer>",
    )
    return document(f"Data report: {report.file or 'a file'}", CSS, [part for part in body if part])


def head(report: Report) -> str:
    verdict, counts = report.verdict, report.counts
    words, tone = WORDS[verdict.gate] if verdict else ("read", "")
    if report.error:
        words, tone = NOT_USABLE
    figures = []
    if verdict and not report.error:
        figures.append((tone, f"{verdict.score} of 100", "score of the data"))
    figures.append(("", number(counts.usable), f"usable {nouns(report.kind or 'pair', counts)}"))
    left = counts.bad + counts.useless
    figures.append(("warn" if left else "", number(left), "records left out"))
    about = ["format", *(["raw text"] if report.raw_text else []), *([report.container] if report.container else [])]
    figures.append(("", report.format or "not found", ", ".join(about)))
    cards = "".join(
        f'<div class="figure {tone}"><b{"" if value[:1].isdigit() else WORDY}>{breaking(value)}</b>'
        f'<span class="small">{text(told)}</span></div>'
        for tone, value, told in figures
    )
    told = report.error.message if report.error else (report.status_details or "")
    return (
        f'<header><p class="eyebrow">Palate · data report</p><div class="head"><h1>{text(report.file or "A file")}</h1>'
        f'{chip(words, tone)}</div><p class="lead">{text(told)}</p><div class="figures">{cards}</div></header>'
    )


def breaking(name: str) -> str:
    """A long name may break behind its underscores."""
    return text(name).replace("_", "_<wbr>")


def first(report: Report) -> str:
    """What to do, and the settings that suit the data."""
    verdict = report.verdict
    parts = []
    if verdict and verdict.top_actions:
        rows = "".join(f"<li>{text(action)}</li>" for action in verdict.top_actions)
        parts.append(f'<ol class="first">{rows}</ol>')
    elif not report.error:
        parts.append('<p class="lead">Nothing needs to be done before training.</p>')
    else:
        parts.append(f'<p class="lead">{text(report.error.message)}</p>')
    blocks = [each.code for each in report.checks if each.severity == "block"]
    if blocks:
        names = ", ".join(f'"{code}"' for code in blocks)
        accept = f'"palate": {{"accept": [{names}]}}'
        parts.append(
            '<p class="lead">A job on this file is refused until that is mended, or until the job accepts it:</p>'
            f"<pre><code>{text(accept)}</code></pre>"
        )
    parts.append(advised(report))
    return section("What to do first", *parts)


def advised(report: Report) -> str:
    """Settings that the report recommends, as they would stand in a job."""
    found = report.verdict.recommended if report.verdict else None
    if found is None:
        return ""
    settings = [f"{name} {value}" for name, value in found.model_dump(exclude={"why"}, exclude_none=True).items()]
    if not settings and not found.why:
        return ""
    why = "".join(f"<p>{text(each)}</p>" for each in found.why)
    told = f"<code>{text(', '.join(settings))}</code>" if settings else "the defaults"
    return (
        f'<div class="card wide"><h3>Settings that suit this data: {told}</h3>{why}'
        '<p class="small">What a job leaves at <code>auto</code> takes them by itself.</p></div>'
    )
