"""What is in the file: lengths, examples side by side, counts, and what was left out."""

from collections.abc import Iterable

from core.contract.finding import Place
from preferences.page import charts
from preferences.page.words import chip, folded, number, section, side_by_side, table, text
from preferences.report import Counts, LineError, Report, Sample

SHOWN, AT_ONCE = 50, 10
TONES = {"chosen": "good", "rejected": "other", "wanted": "good", "not wanted": "other"}
TONES |= {"desirable": "good", "undesirable": "other"}


def lengths(report: Report) -> str:
    if not report.lengths:
        return ""
    sides = {name: bins for name, bins in report.histograms.items() if name in TONES}
    medians = {name: report.lengths[name].median for name in sides if name in report.lengths}
    parts = []
    if drawn := charts.lengths("How long the answers are", sides, medians, TONES):
        legend = "".join(f'<span><i class="{TONES[name]}"></i>{text(name)}</span>' for name in sides)
        parts.append(
            f'<figure class="card wide"><h3>Characters of an answer</h3>{drawn}'
            f'<div class="legend">{legend}</div><figcaption>Height: how many answers have that length. Upright lines: '
            "the medians.</figcaption></figure>"
        )
    rows = [(name, number(each.median), number(each.p95), number(each.max)) for name, each in report.lengths.items()]
    parts.append(table(("characters", "median", "95 of 100 at most", "longest"), rows, right=(1, 2, 3)))
    return section("Lengths", *parts)


def inspected(report: Report) -> str:
    """What one model's tokenizer made of the records."""
    found = report.inspection
    if found is None:
        return ""
    rows = [(name, number(each.median), number(each.p95), number(each.max)) for name, each in found.lengths.items()]
    parts = [table(("tokens", "median", "95 of 100 at most", "longest"), rows, right=(1, 2, 3))] if rows else []
    if found.problems:
        parts.append(table(("records that fall out", "how many"), found.problems.items(), right=(1,)))
    if found.error:
        parts.append(f'<p class="lead">{chip(found.error.code, "block")} {text(found.error.message)}</p>')
    told = f"{found.usable:,} examples of {found.records:,} records, with at most {found.max_length:,} tokens."
    return section(f"With {found.model}", *parts, lead=told)


def samples(report: Report) -> str:
    if not report.samples:
        return ""
    cards = "".join(map(sample, report.samples))
    return section(
        "Examples side by side",
        f'<div class="cards">{cards}</div>',
        lead="Records that a finding names come first, then others by chance. Texts are shortened, and what looks "
        "like personal data or a key is masked.",
    )


def sample(shown: Sample) -> str:
    chips = "".join(chip(code, "warn") for code in shown.codes)
    where = Place(None, shown.line, shown.element).told
    answers = "".join(
        f'<div><p class="who">{chip(each.name, TONES.get(each.name, ""))}</p>'
        f'<p class="said" dir="auto">{text(each.text)}</p></div>'
        for each in shown.answers
    )
    return (
        f'<article class="card sample"><div class="prompt"><p class="who">{where} {chips}</p>'
        f'<p class="said" dir="auto">{text(shown.prompt)}</p></div>'
        f'<div class="{side_by_side(len(shown.answers))}">{answers}</div></article>'
    )


def counts(report: Report) -> str:
    if not report.counts.records:
        return ""
    rows = [(words, number(count), share(count, whole)) for words, count, whole in counted(report.counts)]
    parts = [table((), rows, right=(1, 2))]
    if report.mapping:
        parts.append(folded("which column became what", table(("field", "taken from"), report.mapping.items())))
    for notice in report.warnings:
        unit, places = ("Elements", notice.elements) if notice.elements else ("Lines", notice.lines)
        where = f" {unit} {', '.join(map(str, places))}." if places else ""
        told = f"{notice.count:,}: {notice.message}{where}"
        parts.append(f'<p class="lead">{chip(notice.code, "warn")} {text(told)}</p>')
    return section("What is in the file", *parts)


def counted(counts: Counts) -> list[tuple[str, int, int]]:
    """Name, number, and of how many; those that this kind of data has."""
    kept = counts.useless + counts.usable
    compared = counts.pairs + counts.comparisons + counts.ties
    every = [
        ("records", counts.records, 0),
        ("malformed", counts.bad, counts.records),
        ("left out: nothing to learn", counts.useless, kept),
        ("usable", counts.usable, counts.records),
        ("chosen is the longer one", counts.chosen_longer, counts.pairs),
        ("of the same length", counts.same_length, counts.pairs),
        ("identical answers", counts.identical_pairs, counts.pairs),
        ("empty chosen", counts.empty_chosen, counts.pairs),
        ("empty rejected", counts.empty_rejected, counts.pairs),
        ("of several turns", counts.multi_turn, kept),
        ("wanted", counts.desirable, counts.unpaired),
        ("not wanted", counts.undesirable, counts.unpaired),
        ("comparisons", counts.comparisons, compared),
        ("ties", counts.ties, compared),
    ]
    return [each for each in every if each[1]]


def share(count: int, whole: int) -> str:
    return f"{count / whole:.1%}" if whole else ""


def left_out(report: Report) -> str:
    total = sum(report.errors_by_code.values())
    if not total:
        return ""
    most = max(report.errors_by_code.values())
    ordered = sorted(report.errors_by_code.items(), key=lambda each: -each[1])
    rows = [(code, count / most, "block", f"{count:,}") for code, count in ordered]
    more = report.errors[AT_ONCE:SHOWN]
    told = f"{total:,} records" + (f", the first {SHOWN} below" if total > SHOWN else "")
    return section(
        "Left out",
        f'<figure class="card wide">{charts.bars("Records left out, by code", rows)}</figure>',
        lines(report.errors[:AT_ONCE]),
        folded(f"{len(more)} more", lines(more)) if more else "",
        lead=f"{told}. All of them: errors.jsonl of this file, or palate check --json.",
    )


def lines(errors: Iterable[LineError]) -> str:
    return (
        '<div class="scroll"><table><thead><tr><th class="n">line</th><th>code</th><th>what, and what to do</th>'
        f"</tr></thead><tbody>{''.join(map(line, errors))}</tbody></table></div>"
    )


def line(error: LineError) -> str:
    place = str(error.line) if error.column is None else f"{error.line}:{error.column}"
    path = f" at <code>{text(error.path)}</code>" if error.path else ""
    excerpt = f"<br><code>{text(error.excerpt)}</code>" if error.excerpt else ""
    return (
        f'<tr><td class="n">{place}</td><td><code>{text(error.code)}</code></td>'
        f'<td class="told">{text(error.message)}{path}. {text(error.hint)}{excerpt}</td></tr>'
    )
