"""`python -m trainer inspect --spec`: what a run would see, on CPU, before a rank starts."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from core.contract.errors import BadModel
from core.contract.run_spec import Fatal, Fed, Inspection, InspectSpec, Lengths
from trainer import folder, records
from trainer.data import Example, Tokenised, make_renderer, tokenise
from trainer.render import Answer, Renderer

PROBLEMS, PREVIEWS = 1000, 20
FATAL_MODELS = {"no_chat_template", "no_eos_token", "slow_tokenizer"}


def inspect(spec: InspectSpec) -> Inspection:
    """Raises BadModel and BadData for what cannot be read; what can be read but not used is `fatal`."""
    context = folder.context_length(spec.model_dir)
    limit = spec.max_length or min(context, 2048)
    result = Inspection(records=0, usable=0, max_length=limit, context_length=context)
    if limit > context:
        message = f"max_length is {limit}, but the model's context has {context} tokens."
        return result.model_copy(update={"fatal": Fatal(code="invalid_value", message=message, param="max_length")})
    try:
        renderer = make_renderer(folder.load_tokenizer(spec.model_dir), folder.end_tokens(spec.model_dir))
    except BadModel as bad:
        if bad.code not in FATAL_MODELS:
            raise
        return result.model_copy(update={"fatal": Fatal(code=bad.code, message=bad.message, param="model")})
    boundary = folder.rope_boundary(folder.load_config(spec.model_dir))
    found = tokenise(renderer, records.read(spec.data), limit, spec.truncation, spec.loss, boundary=boundary)
    return describe(found, renderer, spec, context, limit)


def describe(found: Tokenised, renderer: Renderer, spec: InspectSpec, context: int, limit: int) -> Inspection:
    answers = [answer for example in found.examples for answer in example.answers]
    return Inspection(
        records=len({example.line for example in found.examples}) + len(found.problems),
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
        previews=[preview(example, renderer) for example in found.examples[:PREVIEWS]],
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


def lengths(pairs: Sequence[Example]) -> dict[str, Lengths]:
    """Tokens of prompt, answers, and pair (prompt + longer answer)."""
    if not pairs:
        return {}
    return {
        "prompt": spread([pair.prefix for pair in pairs]),
        "chosen": spread([len(pair.answers[0].ids) - pair.prefix for pair in pairs]),
        "rejected": spread([len(pair.answers[-1].ids) - pair.prefix for pair in pairs]),
        "pair": spread([pair.longest for pair in pairs]),
    }


def spread(values: list[int]) -> Lengths:
    ordered = sorted(values)
    return Lengths(median=nearest_rank(ordered, 0.5), p95=nearest_rank(ordered, 0.95), max=ordered[-1])


def nearest_rank(ordered: list[int], share: float) -> int:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def histogram(longest: list[int]) -> list[tuple[int, int]]:
    """(upper bound, pairs) in steps of 1/8 of a power of two; empty ones left out."""
    counts: Counter[int] = Counter()
    for value in longest:
        width = max(1, 1 << max(0, value.bit_length() - 4))
        counts[-(-value // width) * width] += 1
    return sorted(counts.items())


def preview(example: Example, renderer: Renderer) -> dict[str, object]:
    """Pairs and single answers by the names of their fields, a list as `answers`, the preferred one first."""
    shown = [preview_answer(answer, example.prefix, renderer) for answer in example.answers]
    named: dict[str, object] = {"answers": shown}
    if len(shown) == 1:
        named = {"completion": shown[0], "label": example.label}
    if len(shown) == 2:
        named = {"chosen": shown[0], "rejected": shown[1]}
    prompt = renderer.tokenizer.decode(example.answers[0].ids[: example.prefix])
    return {"line": example.line, "prompt": prompt, **named}


def preview_answer(answer: Answer, prefix: int, renderer: Renderer) -> dict[str, object]:
    """`text` behind the prompt; `token_ids` and `mask` (1 = scored) of prompt and answer."""
    mask = [0] * len(answer.ids)
    for start, end in answer.spans:
        mask[start:end] = [1] * (end - start)
    return {"text": renderer.tokenizer.decode(answer.ids[prefix:]), "token_ids": list(answer.ids), "mask": mask}


def write(path: Path, inspection: Inspection) -> None:
    """Whole or not at all."""
    partial = path.with_name(path.name + ".tmp")
    partial.write_text(json.dumps(inspection.model_dump(mode="json"), ensure_ascii=False))
    partial.rename(path)
