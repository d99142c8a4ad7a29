"""What the rows come to: whether the file may be used, and the sentence that says so."""

from core.contract.preference import Kind
from preferences.faults import USELESS
from preferences.limits import Limits
from preferences.report import Counts, FileError, Notice
from preferences.tally import Tally

NOUNS: dict[Kind, str] = {"pair": "pair", "unpaired": "answer", "ranking": "ranking"}


def nouns(kind: Kind, counts: Counts) -> str:
    """What the usable records are."""
    return "pairs and ties" if kind == "pair" and counts.ties else f"{NOUNS[kind]}s"


def verdict(tally: Tally, counts: Counts, kind: Kind | None, limits: Limits, allowed_bad: float) -> FileError | None:
    """The rules over the whole file; `allowed_bad` is the share of malformed rows that may be skipped."""
    noun = NOUNS[kind or "pair"]
    if not counts.records:
        return FileError(code="file_empty", message="The file holds no record.")
    if counts.bad > allowed_bad * counts.records:
        first = next((error for error in tally.errors if error.code not in USELESS), None)
        where = f", the first on line {first.line} ({first.code})" if first else ""
        return FileError(
            code="too_many_bad_lines",
            message=f"{counts.bad:,} of {counts.records:,} records cannot be read{where}; "
            f"{allowed_bad:.2%} may be skipped. "
            "Correct them, or set on_error to skip with a higher max_bad_fraction.",
        )
    if tally.weighty < limits.min_pairs:
        weighty = " of a weight above 0" if tally.weighty < counts.usable - tally.ties else ""
        found = f"{_amount(tally.weighty, f'usable {noun}')}{weighty}{_and_ties(tally)}"
        return FileError(code="too_few_pairs", message=f"{found}; at least {limits.min_pairs} are needed.")
    # A ranking of equals says something true; an empty answer or the same one twice is a slip.
    slips = counts.useless - tally.by_code["ranks_all_equal"]
    if slips > limits.useless_fraction * (counts.useless + counts.usable):
        wrong = "are empty" if kind == "unpaired" else "have an empty answer or two equal ones"
        return FileError(
            code="too_many_bad_lines",
            message=f"{slips:,} of {_amount(counts.useless + counts.usable, noun)} {wrong}; "
            f"more than {limits.useless_fraction:.0%} is a sign of a mistake in making the file.",
        )
    return None


def notices(tally: Tally, counts: Counts, kind: Kind | None, limits: Limits) -> list[Notice]:
    """What is odd about the whole. Ties are not counted: a job leaves them out unless it asks for them."""
    found: list[Notice] = []
    number = counts.usable - tally.ties
    if limits.min_pairs <= number < limits.few_pairs:
        message = f"{_amount(number, NOUNS[kind or 'pair'])} are few; below {limits.few_pairs} little is learned."
        found.append(Notice(code="few_pairs", message=message, count=number))
    if counts.unpaired and not (counts.desirable and counts.undesirable):
        only = "wanted" if counts.desirable else "unwanted"
        message = f"All answers are {only} ones; there is more to learn where both kinds are there."
        found.append(Notice(code="one_label", message=message, count=counts.unpaired))
    return found


def details(tally: Tally, counts: Counts, kind: Kind | None) -> str:
    """One sentence on what was taken and what was left out."""
    taken = f"{_amount(counts.usable - tally.ties, NOUNS[kind or 'pair'])}{_and_ties(tally)} taken"
    left = ", ".join(f"{count:,} {code}" for code, count in sorted(tally.by_code.items()))
    return f"{taken}; left out: {left}." if left else f"{taken}."


def _and_ties(tally: Tally) -> str:
    return f", {_amount(tally.ties, 'tie')}" if tally.ties else ""


def _amount(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
