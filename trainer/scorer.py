"""Log-probabilities of answers: the model's body, the fused head, and two numbers a sequence."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from trainer import attention
from trainer.attention import Attending, inside
from trainer.head import Head, transform_of
from trainer.layouts import Batch


class Scorer(nn.Module):
    """The module that the engine wraps, so that ZeRO-3 gathers each weight where it is used.

    `model` is the causal language model itself (LoRA injected in place). `fused`: body and fused head; else, where the
    probe finds them unlike the model's own logits, the model's whole forward.
    """

    model: Any

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.own_attention = str(self.model.config._attn_implementation)
        linear = self.model.get_output_embeddings()
        self.fused = isinstance(linear, nn.Linear) and self.model.base_model is not model
        if self.fused:
            self.model.set_output_embeddings(Head(linear, transform_of(self.model.config.get_text_config())))
        attention.register()

    def forward(self, batch: Batch) -> Tensor:
        """log pi(y | x), fp32 [S, 2]: sums over all scored tokens, and over the example's shared length."""
        per_token = torch.cat([self.per_token(batch), torch.zeros(1, device=batch.ids.device)])
        table = per_token[batch.place]
        head = torch.cat([batch.head, batch.head.new_zeros(1)])[batch.place]
        return torch.stack([table.sum(1), (table * head).sum(1)], dim=1)

    def per_token(self, batch: Batch) -> Tensor:
        """fp32 [M]"""
        row = Attending(batch.documents) if batch.documents else None
        self.attend(attention.NAME if row else self.own_attention)
        given: dict[str, Any] = {"input_ids": batch.ids, "attention_mask": batch.attention, "use_cache": False}
        if batch.positions is not None:
            given["position_ids"] = batch.positions
        with inside(row):
            if not self.fused:
                logits = self.model(**given).logits.flatten(0, 1)[batch.predictor].float()
                own: Tensor = logits.gather(1, batch.targets[:, None]).squeeze(1) - logits.logsumexp(1)
                return own
            hidden = self.model.base_model(**given)[0]
        found: Tensor = self.model.get_output_embeddings()(hidden.flatten(0, 1)[batch.predictor], batch.targets)
        return found

    def attend(self, implementation: str) -> None:
        if self.model.config._attn_implementation != implementation:
            self.model.set_attn_implementation(implementation)

    @contextmanager
    def plain(self) -> Iterator[Any]:
        """The model itself with its own attention, for `generate`."""
        self.attend(self.own_attention)
        yield self.model
