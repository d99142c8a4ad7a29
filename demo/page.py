"""The report of one run as one HTML file: nothing is loaded from anywhere, nothing runs, it reads without colour."""

from collections.abc import Iterable, Mapping
from html import escape

from demo.grammar import KINDS, Kind
from demo.outcome import Columns, Ending, Outcome, Score, series
from demo.style import CSS
from demo.svg import Line, Mark, bars, curves

TONES: dict[Kind, str] = {"intriguing": "good", "flat": "flat", "broken": "broken"}
SIGNS: dict[Kind, str] = {"intriguing": "✦ intriguing", "flat": "– flat", "broken": "× broken"}
STEP_COLUMNS = {
    "train_loss": "loss",
    "rewards/accuracies": "accuracy",
    "rewards/chosen": "reward, preferred",
    "rewards/rejected": "reward, other",
    "rewards/margins": "margin",
    "logps/chosen": "log p, preferred",
    "grad_norm": "gradient norm",
}


def page(run: Outcome) -> str:
    """The whole document."""
    sections = (head(run), stories(run), words(run), kinds(run), held_out(run), learning(run), facts(run), files(run))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{run.scenario.wording.title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{CSS}</style></head>\n<body><main>\n" + "\n".join(sections) + "\n</main></body></html>\n"
    )


def head(run: Outcome) -> str:
    before, after, wording = run.before, run.after, run.scenario.wording
    figures = [
        (f"{before.accuracy:.0%}", f"{after.accuracy:.0%}", "of unseen pairs: the better ending is the likelier one")
    ]
    if run.scenario.sampled:
        old, new = (f"{score.share('intriguing'):.0%}" for score in (before, after))
        figures.append((old, new, "of the endings it writes intrigue"))
    cards = "".join(
        f'<div class="figure"><b><i>{old} →</i> <em>{new}</em></b><span class="small">{text}</span></div>'
        for old, new, text in figures
    )
    seconds = run.timings.get("Job, from request to model", 0.0)
    cards += (
        f'<div class="figure"><b>{seconds:.0f} s</b>'
        f'<span class="small">for the whole job, on {run.ranks} ranks</span></div>'
    )
    return (
        '<header><p class="eyebrow">Palate · direct preference optimization</p>'
        f"<h1>{wording.title}</h1>"
        f'<p class="lede">{wording.lede} '
        f"It was then shown {run.training_pairs} pairs of endings, the better one marked. Nobody told it why.</p>"
        f'<div class="figures">{cards}</div></header>'
    )


def stories(run: Outcome) -> str:
    cards = "".join(
        f'<article class="card story"><p class="opening">{escape(old.opening)}</p><div class="pair">'
        f"{_ending('before', old, run)}{_ending('after', new, run)}</div></article>"
        for old, new in zip(run.before.shown, run.after.shown, strict=True)
    )
    return (
        "<section><h2>The same opening, before and after</h2>"
        f'<p class="small lead">{run.scenario.wording.shown}</p>'
        f"{cards}</section>"
    )


def words(run: Outcome) -> str:
    opening, chosen, rejected = (escape(text) for text in run.example)
    return (
        "<section><h2>What happened in between</h2>"
        '<p class="text">One of the training pairs: an opening, and two endings. The two kinds are alike in length '
        "and both ask questions; what tells them apart is what they say.</p>"
        f'<article class="card story"><p class="opening">{opening}</p><div class="pair">'
        f'<div><p class="who"><span class="chip good">✓ preferred</span></p><p>{chosen}</p></div>'
        f'<div><p class="who"><span class="chip flat">not preferred</span></p><p>{rejected}</p></div></div></article>'
        '<p class="text">Direct preference optimization needs no reward model and no reinforcement learning. It asks '
        "how probable each ending is under the model in training, compared with the model as it was at the start. "
        "Each step widens the gap between the two by that measure, in favour of the preferred one, and it pushes "
        "hardest where the model still has the order wrong.</p>"
        '<p class="text">The comparison with the start is what keeps it from forgetting how to write. A second '
        "term keeps the preferred endings themselves probable, so that it does not win by making both worse.</p>"
        "</section>"
    )


def kinds(run: Outcome) -> str:
    """Nothing of a model whose endings are not told apart."""
    if not run.scenario.sampled:
        return ""
    rows = [(f"{when}", [_share(score, kind) for kind in KINDS]) for when, score in _both(run)]
    told = "; ".join(
        f"{when}: " + ", ".join(f"{score.kinds()[kind]} {kind}" for kind in KINDS) for when, score in _both(run)
    )
    legend = "".join(f'<span class="chip {TONES[kind]}">{SIGNS[kind]}</span>' for kind in KINDS)
    count, own = len(run.after.sampled), (run.before.own(), run.after.own())
    return (
        f"<section><h2>What it writes when it is free to choose</h2>"
        f'<p class="small lead">{count} unseen openings, one ending each, drawn by chance as the model’s own '
        "probabilities have it. Broken: no ending that the grammar could make, such as a slip of words or half of each "
        f"kind. True to their opening’s own people, places and things: {own[0]} before, {own[1]} after.</p>"
        f'<figure class="card wide">{bars("Kinds of sampled endings", told, rows)}'
        f'<div class="legend">{legend}</div><figcaption>{told}.</figcaption></figure></section>'
    )


def held_out(run: Outcome) -> str:
    rows = [
        (when, [("ink" if when == "before" else "good", f"{score.accuracy:.1%}", score.accuracy)])
        for when, score in _both(run)
    ]
    told = f"{run.before.accuracy:.1%} before, {run.after.accuracy:.1%} after; tossing a coin gives 50%"
    return (
        "<section><h2>What it prefers, on pairs it never saw</h2>"
        f'<p class="small lead">The share of {run.held_out_pairs} held-out pairs in which the model finds the '
        "preferred ending more probable than the other.</p>"
        f'<figure class="card wide">{bars("Held-out preference accuracy", told, rows)}'
        f"<figcaption>{told}.</figcaption></figure></section>"
    )


def learning(run: Outcome) -> str:
    m = run.metrics
    chosen = series(m, "logps/chosen")
    start = [Mark("start", chosen[0][1])] if chosen else []
    loss, accuracy = series(m, "train_loss"), series(m, "rewards/accuracies")
    rewards = [
        Line("margin", "ink", series(m, "rewards/margins")),
        Line("preferred", "good", series(m, "rewards/chosen")),
        Line("other", "flat", series(m, "rewards/rejected")),
    ]
    charts = (
        (
            "Loss",
            curves("Loss", _ends(loss), [Line("loss", "ink", loss)]),
            "What each step makes smaller, both terms together.",
        ),
        (
            "Pairs in the right order",
            curves("Reward accuracy", _ends(accuracy), [Line("right", "good", accuracy)], [Mark("chance", 0.5)], True),
            "The share of a step’s pairs whose preferred ending gained more than the other.",
        ),
        (
            "Rewards",
            curves("Rewards", "Margin: " + _ends(rewards[0].points), rewards),
            "How far each kind of ending has moved from the start (times beta). The margin is the gap.",
        ),
        (
            "Probability of the preferred ending",
            curves("Log-probability of preferred endings", _ends(chosen), [Line("log p", "good", chosen)], start),
            "Watch this one: if it falls far below its start, the model gets better at choosing and worse at writing.",
        ),
    )
    cards = "".join(
        f'<figure class="card"><h3>{title}</h3>{chart}<figcaption>{text}</figcaption></figure>'
        for title, chart, text in charts
    )
    return f'<section><h2>While it learned</h2><div class="grid2">{cards}</div>{_step_table(m)}</section>'


def facts(run: Outcome) -> str:
    timings = {name: f"{seconds:.1f} s" for name, seconds in run.timings.items()}
    return (
        '<section><h2>Settings and timings</h2><div class="grid2">'
        f"{_table('Settings of the run', run.settings)}{_table('Seconds', timings)}</div></section>"
    )


def files(run: Outcome) -> str:
    rows = "".join(
        f'<tr><td><code>{escape(f.path)}</code></td><td class="n">{f.bytes:,}</td><td><code>{f.sha256}</code></td></tr>'
        for f in run.files
    )
    return (
        "<section><h2>The model is yours</h2>"
        '<p class="small lead">Downloaded, each sha256 computed again here and compared with the manifest; then '
        f"loaded with plain <code>transformers</code> for every “after” on this page. Model "
        f"<code>{escape(run.model)}</code>, job <code>{escape(run.job)}</code>.</p>"
        '<div class="scroll"><table><thead><tr><th>file</th><th class="n">bytes</th><th>sha256</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
        f'<footer class="small">Written by <code>{run.scenario.command}</code>. {run.scenario.wording.made}</footer>'
    )


def _both(run: Outcome) -> Iterable[tuple[str, Score]]:
    return (("before", run.before), ("after", run.after))


def _share(score: Score, kind: Kind) -> tuple[str, str, float]:
    return TONES[kind], str(score.kinds()[kind]), score.share(kind)


def _ending(when: str, ending: Ending, run: Outcome) -> str:
    chip = f' <span class="chip {TONES[ending.kind]}">{SIGNS[ending.kind]}</span>' if run.scenario.sampled else ""
    return f'<div><p class="who">{when}{chip}</p><p>{escape(ending.text)}</p></div>'


def _ends(points: Iterable[tuple[float, float]]) -> str:
    found = list(points)
    return f"From {found[0][1]:.3g} to {found[-1][1]:.3g}" if found else "No figures"


def _table(title: str, rows: Mapping[str, str]) -> str:
    body = "".join(f'<tr><td>{escape(k)}</td><td class="n">{escape(v)}</td></tr>' for k, v in rows.items())
    return f'<div class="card"><h3>{title}</h3><div class="scroll"><table><tbody>{body}</tbody></table></div></div>'


def _step_table(metrics: Columns) -> str:
    found = {name: dict(series(metrics, name)) for name in STEP_COLUMNS}
    shown = [name for name in STEP_COLUMNS if found[name]]
    steps = sorted({step for column in found.values() for step in column})
    header = "".join(f"<th>{STEP_COLUMNS[name]}</th>" for name in shown)
    rows = "".join(
        f"<tr><td>{step:g}</td>"
        + "".join(f"<td>{found[name][step]:.4g}</td>" if step in found[name] else "<td></td>" for name in shown)
        + "</tr>"
        for step in steps
    )
    return (
        "<details><summary>Every step in figures</summary>"
        f'<div class="scroll"><table class="steps"><thead><tr><th>step</th>{header}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>"
    )
