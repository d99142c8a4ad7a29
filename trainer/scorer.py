"""Log-probabilities of answers: the model's body, the fused head, and two numbers a sequence."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from trainer import attention
from trainer.attention import Attending, inside
from trainer.folder import rope_boundary
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
        self.boundary = rope_boundary(self.model.config)
        self.fused = isinstance(linear, nn.Linear) and self.model.base_model is not model
        if self.fused:
            self.model.set_output_embeddings(Head(linear, transform_of(self.model.config.get_text_config())))
        attention.register()

    def forward(self, batch: Batch) -> Tensor:
        """log pi(y | x), fp32 [S, 2]: sums over all scored tokens, and over the example's shared length."""
        sums: Tensor = AnswerSums.apply(self.per_token(batch), batch)  # type: ignore[no-untyped-call]
        return sums

    def per_token(self, batch: Batch) -> Tensor:
        """fp32 [M]"""
        row = Attending(batch.documents) if batch.documents else None
        self.attend(attention.NAME if row else self.own_attention)
        given: dict[str, Any] = {"input_ids": batch.ids, "attention_mask": batch.attention, "use_cache": False}
        if batch.positions is not None:
            given["position_ids"] = batch.positions
        with inside(row):
            if not self.fused:
                logits = self.model(**given).logits.flatten(0, 1).index_select(0, batch.predictor).float()
                own: Tensor = logits.gather(1, batch.targets[:, None]).squeeze(1) - logits.logsumexp(1)
                return own
            hidden = self.model.base_model(**given)[0]
        predicting = hidden.flatten(0, 1).index_select(0, batch.predictor)
        found: Tensor = self.model.get_output_embeddings()(predicting, batch.targets)
        return found

    def attend(self, implementation: str) -> None:
        if self.model.config._attn_implementation != implementation:
            self.model.set_attn_implementation(implementation)
        if self.model.config._attn_implementation != implementation:
            raise attention.RowOnly("The model's attention function cannot be replaced.")

    def takes(self, implementation: str) -> bool:
        """Whether the model's attention function can be replaced by that one."""
        try:
            self.attend(implementation)
        except attention.RowOnly:
            return False
        return True

    def recompute(self) -> None:
        """From now on each layer keeps its input alone and is computed again in the backward pass, within its row.

        Of a model whose layers cannot, nothing changes.
        """
        if not self.model.supports_gradient_checkpointing:
            return
        self.model.activation_checkpointing_enable({"use_reentrant": False, "context_fn": attention.carried})

    @contextmanager
    def plain(self) -> Iterator[Any]:
        """The model itself with its own attention, for `generate`."""
        self.attend(self.own_attention)
        yield self.model


class AnswerSums(torch.autograd.Function):
    """[M] -> [S, 2]. By gathers both ways, no atomic addition: the same bits each time on a GPU too."""

    @staticmethod
    def forward(ctx: Any, per_token: Tensor, batch: Batch) -> Tensor:
        ctx.batch = batch
        both = torch.stack([per_token, per_token * batch.head])
        return torch.cat([both, both.new_zeros(2, 1)], dim=1)[:, batch.place].sum(2).t()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        of_all, of_head = gradients[0][ctx.batch.sequence].unbind(1)
        return of_all + of_head * ctx.batch.head, None
