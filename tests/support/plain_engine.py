"""A model without DeepSpeed, as the gates want one: for tests of the gates that need no ranks."""

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainer import lora
from trainer.layouts import Batch
from trainer.scorer import Scorer
from trainer.world import World

ALONE = World(0, 1, torch.device("cpu"), None)


class PlainEngine:
    """What trainer.engine.Engine does, on whole parameters."""

    def __init__(self, model: nn.Module) -> None:
        self.adapter = next(lora.layers(model), None)
        self.scorer = Scorer(model.eval())
        self.model: Any = model

    def score(self, batch: Batch) -> Tensor:
        found: Tensor = self.scorer(batch)
        return found

    @torch.no_grad()
    def score_only(self, batch: Batch, *, reference: bool = False) -> Tensor:
        with lora.disabled(self.model) if reference else contextlib.nullcontext():
            return self.score(batch)

    def trace(self, batch: Batch, factors: Sequence[float]) -> tuple[Tensor, Tensor]:
        leaf: list[Tensor] = []

        def cut(module: nn.Module, given: Any, found: Tensor) -> Tensor:
            leaf.append(found.detach().requires_grad_())
            return leaf[0]

        hook = self.model.get_input_embeddings().register_forward_hook(cut)
        try:
            sums = self.scorer(batch)
            (gradient,) = torch.autograd.grad((sums[:, 0] * torch.tensor(factors)).sum(), leaf[0])
        finally:
            hook.remove()
        return sums.detach(), gradient

    def forget(self) -> None:
        pass
