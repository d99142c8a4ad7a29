"""Scores a folder of weights with plain transformers: what it prefers, and what it writes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from demo.data import Pair
from demo.grammar import Opening, faithful, kind
from demo.outcome import Ending, Score
from demo.scenario import Scenario

# Few enough that a table of logits over a vocabulary of 49,152 takes no more than a gigabyte.
BATCH = 16


def score(
    folder: Path,
    scenario: Scenario,
    pairs: Sequence[Pair],
    shown: Sequence[Opening],
    look: Callable[[int, int], None] = lambda done, total: None,
    seed: int = 0,
) -> Score:
    """Everything the demo says of one model: endings sampled at temperature 1, greedy ones for `shown`.

    `look` is told how many of how many answers are scored or written.
    """
    logging.disable_progress_bar()
    openings = [pair.opening for pair in pairs[: scenario.sampled]]
    done, total = 0, 2 * len(pairs) + len(openings) + len(shown)

    def tick(count: int) -> None:
        nonlocal done
        done += count
        look(done, total)

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    chosen = logps(model, tokenizer, [(pair.asked, pair.chosen) for pair in pairs], tick)
    rejected = logps(model, tokenizer, [(pair.asked, pair.rejected) for pair in pairs], tick)
    return Score(
        accuracy=float((chosen > rejected).float().mean()),
        chosen=float(chosen.mean()),
        rejected=float(rejected.mean()),
        sampled=write(model, tokenizer, scenario, openings, seed, tick),
        shown=write(model, tokenizer, scenario, shown, None, tick),
    )


@torch.no_grad()
def logps(model: Any, tokenizer: Any, answers: Sequence[tuple[str, str]], tick: Callable[[int], None]) -> torch.Tensor:
    """log pi(answer | message), summed over the answer's tokens and its end-of-turn token: [answers], fp32."""
    sums = []
    for at in range(0, len(answers), BATCH):
        batch = answers[at : at + BATCH]
        prompts = [tokenizer(prompt_text(tokenizer, asked))["input_ids"] for asked, _ in batch]
        chats = [[*chat(asked), {"role": "assistant", "content": answer}] for asked, answer in batch]
        texts = [text.rstrip("\n") for text in tokenizer.apply_chat_template(chats, tokenize=False)]
        encoded = tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
        ids, attended = encoded["input_ids"], encoded["attention_mask"]
        logits = model(input_ids=ids, attention_mask=attended).logits[:, :-1].float()
        tokens = logits.gather(-1, ids[:, 1:, None]).squeeze(-1) - logits.logsumexp(-1)
        scored = attended[:, 1:].bool()
        for row, prompt in enumerate(prompts):
            scored[row, : len(prompt) - 1] = False
        sums.append((tokens * scored).sum(-1))
        tick(len(batch))
    return torch.cat(sums)


@torch.no_grad()
def write(
    model: Any,
    tokenizer: Any,
    scenario: Scenario,
    openings: Sequence[Opening],
    seed: int | None,
    tick: Callable[[int], None],
) -> list[Ending]:
    """One ending for each opening: sampled at temperature 1 from a fixed seed, or greedy without one."""
    if seed is not None:
        torch.manual_seed(seed)
    written = []
    for at in range(0, len(openings), BATCH):
        batch = openings[at : at + BATCH]
        texts = [prompt_text(tokenizer, scenario.ask(opening.text)) for opening in batch]
        encoded = tokenizer(texts, padding=True, padding_side="left", return_tensors="pt")
        ids = model.generate(
            input_ids=encoded["input_ids"],
            attention_mask=encoded["attention_mask"],
            do_sample=seed is not None,
            max_new_tokens=scenario.longest,
        )
        for opening, row in zip(batch, ids[:, encoded["input_ids"].shape[1] :], strict=True):
            text = tokenizer.decode(row, skip_special_tokens=True).strip()
            written.append(Ending(opening.text, text, kind(text), faithful(text, opening)))
        tick(len(batch))
    return written


def chat(asked: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": asked}]


def prompt_text(tokenizer: Any, asked: str) -> str:
    return str(tokenizer.apply_chat_template(chat(asked), tokenize=False, add_generation_prompt=True))
