"""What the model says to the probe prompts: greedy, before and after."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from trainer.engine import Engine
from trainer.world import World

NEW_TOKENS = 64


def continuations(
    engine: Engine,
    world: World,
    tokenizer: Any,
    end_ids: frozenset[int],
    prompts: Sequence[str],
    context: int,
    stopped: Callable[[], bool],
) -> list[str]:
    """One completion a prompt. All prompts at once, padded on the left: ZeRO-3 gathers every weight for each token.

    `stopped` is asked by all ranks after each token, and must answer all the same; then it ends there.
    """
    from transformers import GenerationConfig, StoppingCriteriaList

    new = min(NEW_TOKENS, context // 2)
    rendered = [
        tokenizer.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True)
        for prompt in prompts
    ]
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"][-(context - new) :] for text in rendered]
    longest, padding = max(map(len, ids)), min(end_ids)
    given = torch.tensor([[padding] * (longest - len(row)) + row for row in ids], device=world.device)
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in ids], device=world.device)
    greedy = GenerationConfig(max_new_tokens=new, do_sample=False, eos_token_id=sorted(end_ids), pad_token_id=padding)

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
    return [str(tokenizer.decode(row, skip_special_tokens=True)) for row in out[:, longest:]]
