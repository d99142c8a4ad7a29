"""`python -m trainer inspect --spec`: what a run would see, on CPU, before a rank starts."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from core.contract.errors import BadModel
from core.contract.run_spec import Fatal, Fed, Inspection, InspectSpec
from core.disk import rename
from trainer import folder, health, records
from trainer.data import Example, Tokenised, make_renderer, tokenise
from trainer.lengths import histogram, lengths
from trainer.preview import chosen_few, previews
from trainer.render import Renderer

PROBLEMS = 1000
FATAL_MODELS = {"no_chat_template", "chat_template_invalid", "no_eos_token", "slow_tokenizer"}


def inspect(spec: InspectSpec) -> Inspection:
    """Raises BadModel and BadData for what cannot be read; what can be read but not used is `fatal`."""
    context = folder.context_length(spec.model_dir)
    limit = spec.max_length or min(context, 2048)
    result = Inspection(records=0, usable=0, max_length=limit, context_length=context)
    if limit > context:
        message = f"max_length is {limit}, but the model's context has {context} tokens."
        return result.model_copy(update={"fatal": Fatal(code="invalid_value", message=message, param="max_length")})
    boundary = folder.rope_boundary(folder.load_config(spec.model_dir))
    terms = (limit, spec.truncation, spec.loss)
    try:
        renderer = make_renderer(folder.load_tokenizer(spec.model_dir), folder.end_tokens(spec.model_dir))
        found = tokenise(renderer, records.read(spec.data), *terms, boundary=boundary, ties=spec.ties)
    except BadModel as bad:
        if bad.code not in FATAL_MODELS:
            raise
        return result.model_copy(update={"fatal": Fatal(code=bad.code, message=bad.message, param="model")})
    result = describe(found, renderer, spec, context, limit)
    shown = previews(renderer, records.read(spec.data), chosen_few(found), found.fallen, spec, limit)
    return result.model_copy(update={"previews": list(shown)})


def describe(found: Tokenised, renderer: Renderer, spec: InspectSpec, context: int, limit: int) -> Inspection:
    answers = [answer for example in found.examples for answer in example.answers]
    count = len({example.number for example in found.examples}) + len(found.fallen)
    return Inspection(
        records=count,
        usable=len(found.examples),
        max_length=limit,
        context_length=context,
        problems=found.problems[:PROBLEMS],
        problem_counts=dict(Counter(problem.code for problem in found.problems)),
        lengths=lengths(found.examples),
        histogram=histogram([pair.longest for pair in found.examples]),
        tokens=sum(pair.tokens for pair in found.examples),
        fed=fed(found.examples),
        scored_tokens=sum(end - start for answer in answers for start, end in answer.spans),
        answers=len(answers),
        squares=sum(len(answer.ids) ** 2 for answer in answers),
        ties=found.ties,
        checks=health.checks(found, renderer, count, limit, context),
        fatal=mismatch(found, folder.vocabulary(spec.model_dir)) or verdict(found, spec),
    )


def mismatch(found: Tokenised, rows: int | None) -> Fatal | None:
    """A token that the model's table of `rows` does not hold: the tokenizer is another model's."""
    if rows is None:
        return None
    for example in found.examples:
        most = max(max(answer.ids) for answer in example.answers)
        if most >= rows:
            message = (
                f"The tokenizer makes token {most}, but the model knows {rows} tokens: they do not belong together. "
                "Add the model again with the tokenizer that it was trained with."
            )
            return Fatal(code="tokenizer_mismatch", message=message, param="model", line=example.line)
    return None


def fed(examples: Sequence[Example]) -> dict[Literal["shared", "packed", "padded"], Fed]:
    """The last token of an answer is never fed; a shared prompt is fed once (trainer.layouts)."""
    if not examples:
        return {}
    packed = [example.tokens - len(example.answers) for example in examples]
    shared = [
        tokens - example.prefix * (len(example.answers) - 1) for tokens, example in zip(packed, examples, strict=True)
    ]
    padded = [(example.longest - 1) * len(example.answers) for example in examples]
    return {
        "shared": Fed(tokens=sum(shared), largest=max(shared)),
        "packed": Fed(tokens=sum(packed), largest=max(packed)),
        "padded": Fed(tokens=sum(padded), largest=max(padded)),
    }


def verdict(found: Tokenised, spec: InspectSpec) -> Fatal | None:
    """Why no job can be made of this: a record too long under `error`, or nothing left."""
    if spec.truncation == "error":
        for problem in found.problems:
            if problem.code == "too_long":
                return Fatal(code="too_long", message=problem.message, param="training_file", line=problem.line)
    if not found.examples:
        first = found.problems[0] if found.problems else None
        reason = f" The first reason: {first.message}" if first else ""
        return Fatal(
            code=first.code if first else "no_usable_pairs",
            message=f"No usable pair is left of the file.{reason}",
            param="training_file",
            line=first.line if first else None,
        )
    return None


def write(path: Path, inspection: Inspection) -> None:
    """Whole or not at all."""
    partial = path.with_name(path.name + ".tmp")
    partial.write_text(json.dumps(inspection.model_dump(mode="json"), ensure_ascii=False))
    rename(partial, path)
