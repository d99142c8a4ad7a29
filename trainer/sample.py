"""What the model says to the probe prompts: greedy, before and after."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from trainer.engine import Engine
from trainer.world import World

NEW_TOKENS = 64


def continuations(
    engine: Engine, world: World, tokenizer: Any, end_ids: frozenset[int], prompts: Sequence[str], context: int
) -> Iterator[tuple[str, str]]:
    """(prompt, completion). All ranks take part in every forward, with the same prompts."""
    from transformers import GenerationConfig

    for prompt in prompts:
        turns = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"][-(context - NEW_TOKENS) :]
        given = torch.tensor([ids], device=world.device)
        greedy = GenerationConfig(
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            eos_token_id=sorted(end_ids),
            pad_token_id=min(end_ids),
        )
        with engine.sampling() as model:
            out = model.generate(
                given, attention_mask=torch.ones_like(given), generation_config=greedy, synced_gpus=world.size > 1
            )
        yield prompt, tokenizer.decode(out[0, given.shape[1] :], skip_special_tokens=True)
