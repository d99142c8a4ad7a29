"""`python -m trainer inspect --spec`: what a run would see, on CPU, before a rank starts."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from core.contract.errors import BadModel
from core.contract.run_spec import Fatal, Inspection, InspectSpec, Lengths
from trainer import folder, records
from trainer.data import Pair, Tokenised, make_renderer, tokenise
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
    found = tokenise(renderer, records.read(spec.data), limit, spec.truncation)
    return describe(found, renderer, spec, context, limit)


def describe(found: Tokenised, renderer: Renderer, spec: InspectSpec, context: int, limit: int) -> Inspection:
    return Inspection(
        records=len(found.pairs) + len(found.problems),
        usable=len(found.pairs),
        max_length=limit,
        context_length=context,
        problems=found.problems[:PROBLEMS],
        problem_counts=dict(Counter(problem.code for problem in found.problems)),
        lengths=lengths(found.pairs),
        histogram=histogram([pair.longest for pair in found.pairs]),
        tokens=sum(pair.tokens for pair in found.pairs),
        previews=[preview(pair, renderer) for pair in found.pairs[:PREVIEWS]],
        fatal=verdict(found, spec),
    )


def verdict(found: Tokenised, spec: InspectSpec) -> Fatal | None:
    """Why no job can be made of this: a record too long under `error`, or nothing left."""
    if spec.truncation == "error":
        for problem in found.problems:
            if problem.code == "too_long":
                return Fatal(code="too_long", message=problem.message, param="training_file", line=problem.line)
    if not found.pairs:
        first = found.problems[0] if found.problems else None
        reason = f" The first reason: {first.message}" if first else ""
        return Fatal(
            code=first.code if first else "no_usable_pairs",
            message=f"No usable pair is left of the file.{reason}",
            param="training_file",
            line=first.line if first else None,
        )
    return None


def lengths(pairs: Sequence[Pair]) -> dict[str, Lengths]:
    """Tokens of prompt, answers, and pair (prompt + longer answer)."""
    if not pairs:
        return {}
    return {
        "prompt": spread([pair.prefix for pair in pairs]),
        "chosen": spread([len(pair.chosen.ids) - pair.prefix for pair in pairs]),
        "rejected": spread([len(pair.rejected.ids) - pair.prefix for pair in pairs]),
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


def preview(pair: Pair, renderer: Renderer) -> dict[str, object]:
    return {
        "line": pair.line,
        "prompt": renderer.tokenizer.decode(pair.chosen.ids[: pair.prefix]),
        "chosen": preview_answer(pair.chosen, pair.prefix, renderer),
        "rejected": preview_answer(pair.rejected, pair.prefix, renderer),
    }


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
