"""Log-probabilities of answers: the model, and behind it one number a sequence."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainer.data import Pair


@dataclass(frozen=True)
class Batch:
    """Padded on the right to [sequences, T]; chosen and rejected of pair i are rows 2i and 2i + 1.

    `scored`: whether a token's log-probability counts. `keep`: length of the tail that holds all scored tokens.
    """

    ids: Tensor
    attention: Tensor
    scored: Tensor
    keep: int
    tokens: int


def collate(pairs: Sequence[Pair], device: torch.device) -> Batch:
    """Padding is masked by position, never by id: id 0 may be a real token."""
    answers = [answer for pair in pairs for answer in (pair.chosen, pair.rejected)]
    longest = max(len(answer.ids) for answer in answers)
    ids = torch.zeros(len(answers), longest, dtype=torch.long)
    attention = torch.zeros_like(ids)
    scored = torch.zeros(len(answers), longest, dtype=torch.bool)
    for row, answer in enumerate(answers):
        ids[row, : len(answer.ids)] = torch.tensor(answer.ids)
        attention[row, : len(answer.ids)] = 1
        for start, end in answer.spans:
            scored[row, start:end] = True
    first = min(answer.spans[0][0] for answer in answers)
    # The logits at position t - 1 score token t.
    keep = longest - first + 1
    tokens = sum(len(answer.ids) for answer in answers)
    return Batch(ids.to(device), attention.to(device), scored.to(device), keep, tokens)


def lengths(pairs: Sequence[Pair]) -> Tensor:
    """Scored tokens [pairs, 2], fp32."""
    counts = [[sum(end - start for start, end in side.spans) for side in (p.chosen, p.rejected)] for p in pairs]
    return torch.tensor(counts, dtype=torch.float32)


class Scorer(nn.Module):
    """The module that the engine wraps, so that ZeRO-3 gathers the head where it is used."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.cuts_logits = "logits_to_keep" in inspect.signature(model.forward).parameters

    def forward(self, batch: Batch) -> Tensor:
        """log pi(y | x), fp32 [pairs, 2]: sums over the scored tokens."""
        tail = {"logits_to_keep": batch.keep} if self.cuts_logits else {}
        logits = self.model(input_ids=batch.ids, attention_mask=batch.attention, use_cache=False, **tail).logits
        return answer_sums(
            logits[:, -batch.keep : -1], batch.ids[:, 1 - batch.keep :], batch.scored[:, 1 - batch.keep :]
        )


def answer_sums(logits: Tensor, ids: Tensor, scored: Tensor) -> Tensor:
    """`logits` [2 pairs, K, V] at the positions before `ids` [2 pairs, K]; -> [pairs, 2].

    log softmax of one token is its logit minus logsumexp: the [K, V] table of all of them is never made.
    """
    picked = logits[scored].float()
    chosen = picked.gather(1, ids[scored].unsqueeze(1)).squeeze(1)
    per_token = torch.zeros(scored.shape, device=logits.device).masked_scatter(scored, chosen - picked.logsumexp(1))
    return per_token.sum(1).view(-1, 2)
