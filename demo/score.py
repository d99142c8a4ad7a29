"""Scores a folder of weights with plain transformers: what it prefers, and what it writes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from demo.data import Pair
from demo.grammar import Opening, faithful, kind
from demo.outcome import Ending, Score

BATCH = 32
MAX_NEW_TOKENS = 80


def score(folder: Path, pairs: Sequence[Pair], sampled: int, shown: Sequence[Opening], seed: int = 0) -> Score:
    """Everything the demo says of one model: `sampled` endings at temperature 1, greedy ones for `shown`."""
    logging.disable_progress_bar()
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    chosen = logps(model, tokenizer, [(pair.opening.text, pair.chosen) for pair in pairs])
    rejected = logps(model, tokenizer, [(pair.opening.text, pair.rejected) for pair in pairs])
    openings = [pair.opening for pair in pairs[:sampled]]
    return Score(
        accuracy=float((chosen > rejected).float().mean()),
        chosen=float(chosen.mean()),
        rejected=float(rejected.mean()),
        sampled=write(model, tokenizer, openings, seed),
        shown=write(model, tokenizer, shown, None),
    )


@torch.no_grad()
def logps(model: Any, tokenizer: Any, answers: Sequence[tuple[str, str]]) -> torch.Tensor:
    """log pi(answer | opening), summed over the answer's tokens and its end-of-turn token: [answers], fp32."""
    sums = []
    for at in range(0, len(answers), BATCH):
        batch = answers[at : at + BATCH]
        prompts = [tokenizer(prompt_text(tokenizer, opening))["input_ids"] for opening, _ in batch]
        chats = [[*chat(opening), {"role": "assistant", "content": answer}] for opening, answer in batch]
        texts = tokenizer.apply_chat_template(chats, tokenize=False)
        encoded = tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
        ids, attended = encoded["input_ids"], encoded["attention_mask"]
        logits = model(input_ids=ids, attention_mask=attended).logits[:, :-1].float()
        tokens = logits.gather(-1, ids[:, 1:, None]).squeeze(-1) - logits.logsumexp(-1)
        scored = attended[:, 1:].bool()
        for row, prompt in enumerate(prompts):
            scored[row, : len(prompt) - 1] = False
        sums.append((tokens * scored).sum(-1))
    return torch.cat(sums)


@torch.no_grad()
def write(model: Any, tokenizer: Any, openings: Sequence[Opening], seed: int | None) -> list[Ending]:
    """One ending for each opening: sampled at temperature 1 from a fixed seed, or greedy without one."""
    if seed is not None:
        torch.manual_seed(seed)
    written = []
    for at in range(0, len(openings), BATCH):
        batch = openings[at : at + BATCH]
        texts = [prompt_text(tokenizer, opening.text) for opening in batch]
        encoded = tokenizer(texts, padding=True, padding_side="left", return_tensors="pt")
        ids = model.generate(
            input_ids=encoded["input_ids"],
            attention_mask=encoded["attention_mask"],
            do_sample=seed is not None,
            max_new_tokens=MAX_NEW_TOKENS,
        )
        for opening, row in zip(batch, ids[:, encoded["input_ids"].shape[1] :], strict=True):
            text = tokenizer.decode(row, skip_special_tokens=True).strip()
            written.append(Ending(opening.text, text, kind(text), faithful(text, opening)))
    return written


def chat(opening: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": opening}]


def prompt_text(tokenizer: Any, opening: str) -> str:
    return str(tokenizer.apply_chat_template(chat(opening), tokenize=False, add_generation_prompt=True))
