"""What the demo prints: few words, so that a reader understands what DPO did while watching it."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from demo.data import Pair
from demo.grammar import KINDS, Kind
from demo.outcome import Columns, Ending, Outcome, Score, StoredFile, latest
from demo.scenario import Wording

STYLES: dict[Kind, str] = {"intriguing": "green", "flat": "yellow", "broken": "red"}
MEBIBYTE = 1 << 20


def hello(console: Console, wording: Wording) -> None:
    first, second = wording.hello
    console.print(f"\n[bold]{first}[/]")
    console.print(second)
    console.print("and let Palate tune it by direct preference optimization (DPO). All of it on this machine.\n")


def heading(console: Console, text: str) -> None:
    console.print(f"[bold]{text}[/]")


def line(console: Console, text: str) -> None:
    console.print(f"  {text}", soft_wrap=True)


def pair(console: Console, example: Pair) -> None:
    line(console, "One of the pairs:")
    line(console, f"  [italic]{example.opening.text}[/]")
    line(console, f"  [green]✓ preferred[/]  {example.chosen}")
    line(console, f"  [yellow]  the other[/]  {example.rejected}")


def report(console: Console, name: str, found: dict[str, object]) -> None:
    counts = found.get("counts")
    counts = counts if isinstance(counts, dict) else {}
    line(
        console,
        f"{name}: {counts.get('pairs', '?')} pairs, {counts.get('usable', '?')} usable, {counts.get('bad', '?')} bad "
        f"lines, read as {found.get('format')}; preferred one longer in {counts.get('chosen_longer', '?')}",
    )
    warnings = found.get("warnings")
    for warning in warnings if isinstance(warnings, list) else []:
        line(console, f"  note: {warning['message']}")


def step_words(metrics: Columns) -> str:
    """The newest figures in a row: loss, how often the order is right, the margin."""
    loss, right, margin = (latest(metrics, name) for name in ("train_loss", "rewards/accuracies", "rewards/margins"))
    words = []
    if loss is not None:
        words.append(f"loss {loss:.3f}")
    if right is not None:
        words.append(f"right order {right:.0%}")
    if margin is not None:
        words.append(f"margin {margin:+.2f}")
    return ", ".join(words)


def result(console: Console, run: Outcome) -> None:
    table = Table(
        title="Three openings that no training saw, each model's likeliest ending", expand=True, show_lines=True
    )
    for column in ("opening", "before", "after"):
        table.add_column(column, ratio=1)
    for old, new in zip(run.before.shown, run.after.shown, strict=True):
        table.add_row(f"[italic]{escape(old.opening)}[/]", *(_told(each, run) for each in (old, new)))
    console.print(table)
    figures = Table(title=f"On {run.held_out_pairs} held-out pairs")
    for column in ("", "before", "after"):
        figures.add_column(column, justify="left" if not column else "right")
    figures.add_row("prefers the better ending", f"{run.before.accuracy:.1%}", f"{run.after.accuracy:.1%}")
    figures.add_row("log p of the better ending, mean", f"{run.before.chosen:.2f}", f"{run.after.chosen:.2f}")
    figures.add_row("log p of the other, mean", f"{run.before.rejected:.2f}", f"{run.after.rejected:.2f}")
    for kind in KINDS if run.scenario.sampled else ():
        figures.add_row(f"sampled endings: {kind}", _count(run.before, kind), _count(run.after, kind))
    console.print(figures)
    console.print(
        "DPO compared each ending's probability with what the model gave it at the start, raised the preferred one "
        "against the other, and pushed hardest where the order was still wrong. No reward model, no sampling.\n"
    )


def files(console: Console, model: str, found: list[StoredFile]) -> None:
    size = sum(each.bytes for each in found) / MEBIBYTE
    line(console, f"{model}: {len(found)} files, {size:.1f} MiB, every sha256 as in the manifest")
    for each in found:
        line(console, f"  {each.sha256[:16]}…  {each.bytes:>10,}  {each.path}")


def _told(ending: Ending, run: Outcome) -> str:
    kind = f"\n[{STYLES[ending.kind]}]{ending.kind}[/]" if run.scenario.sampled else ""
    return f"{escape(ending.text)}{kind}"


def _count(score: Score, kind: Kind) -> str:
    return f"{score.kinds()[kind]} of {len(score.sampled)}"
