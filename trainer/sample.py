"""What the model says to the probe prompts: greedy, before and after."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from core.contract.errors import BadModel
from core.contract.preference import AnyRecord
from trainer.engine import Engine
from trainer.examples import answers
from trainer.render import Renderer
from trainer.unfit import Unfit
from trainer.world import World

NEW_TOKENS = 64


def openings(renderer: Renderer, prompts: Sequence[str], like: AnyRecord) -> list[list[int]]:
    """The tokens of each prompt up to where the assistant begins to speak, rendered as `like`, a record of the run.

    Raises BadModel where the template refuses one.
    """
    found: list[list[int]] = []
    for number, prompt in enumerate(prompts):
        try:
            found.append(renderer.opened(prompt, like, answers(like)))
        except Unfit as unfit:
            raise BadModel(
                f"Probe prompt {number}: {unfit.message}", code=unfit.code, param=f"palate.probe_prompts.{number}"
            ) from unfit
    return found


def continuations(
    engine: Engine,
    world: World,
    renderer: Renderer,
    prompts: Sequence[Sequence[int]],
    context: int,
    stopped: Callable[[], bool],
) -> list[str]:
    """One completion for each of the `openings`, all at once, padded on the left: ZeRO-3 gathers every weight for each
    token.

    `stopped` is asked by all ranks after each token, and must answer all the same; then it ends there.
    """
    from transformers import GenerationConfig, StoppingCriteriaList

    new = min(NEW_TOKENS, context // 2)
    ids = [list(prompt[-(context - new) :]) for prompt in prompts]
    ends = sorted(renderer.end_ids | renderer.usual_end)
    longest, padding = max(map(len, ids)), ends[0]
    given = torch.tensor([[padding] * (longest - len(row)) + row for row in ids], device=world.device)
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in ids], device=world.device)
    greedy = GenerationConfig(max_new_tokens=new, do_sample=False, eos_token_id=ends, pad_token_id=padding)

    def criterion(ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        return torch.full((len(ids),), stopped(), device=ids.device)

    criteria = StoppingCriteriaList([criterion])
    with engine.sampling() as model:
        out = model.generate(
            given,
            attention_mask=mask,
            generation_config=greedy,
            stopping_criteria=criteria,
            synced_gpus=world.size > 1,
        )
    return [str(renderer.tokenizer.decode(row, skip_special_tokens=True)) for row in out[:, longest:]]
