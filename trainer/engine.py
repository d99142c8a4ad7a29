"""The only door to DeepSpeed's training (beside checkpoint): ZeRO-3 around the scorer."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.contract.run_spec import Settings
from trainer import folder as model_folder
from trainer import model
from trainer.ds_config import ds_config
from trainer.scorer import Batch, Scorer
from trainer.world import World


class Engine:
    """Parameters, gradients and optimizer states partitioned over the ranks; every method is called by all of them."""

    def __init__(self, folder: Path, settings: Settings, world: World) -> None:
        deepspeed = quiet_deepspeed()
        from transformers.integrations import HfDeepSpeedConfig

        hidden = int(model_folder.config(folder).get("hidden_size") or 1024)
        config = ds_config(settings, hidden, world.device.type == "cuda")
        # While this object lives, from_pretrained partitions each parameter as it is made.
        partitioning = HfDeepSpeedConfig(config)
        self.scorer = Scorer(model.load(folder, settings.precision))
        # From here on from_pretrained is plain again: rank 0 reloads exported models on its own.
        del partitioning
        optimizer = torch.optim.AdamW(
            self.scorer.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.deepspeed, *_ = deepspeed.initialize(model=self.scorer, optimizer=optimizer, config=config)
        self._gathered = deepspeed.zero.GatheredParameters
        self.world = world

    def score(self, batch: Batch) -> Tensor:
        """[pairs, 2] with a graph."""
        self.deepspeed.train()
        sums: Tensor = self.deepspeed(batch)
        return sums

    @torch.no_grad()
    def score_only(self, batch: Batch) -> Tensor:
        self.deepspeed.eval()
        sums: Tensor = self.deepspeed(batch)
        return sums

    def backward(self, loss: Tensor, last: bool) -> None:
        """`last`: this row ends the global batch."""
        self.deepspeed.set_gradient_accumulation_boundary(last)
        self.deepspeed.backward(loss)
        if not last:
            self.deepspeed.step()

    def squared_gradient_norm(self) -> Tensor:
        """Of this rank's partition, after the last backward: their sum over ranks is the whole norm, squared."""
        total = torch.zeros((), dtype=torch.float64, device=self.world.device)
        for group in self.deepspeed.optimizer.averaged_gradients.values():
            for gradient in group or []:
                total += gradient.double().square().sum()
        return total

    def update(self, learning_rate: float) -> None:
        for group in self.deepspeed.optimizer.param_groups:
            group["lr"] = learning_rate
        self.deepspeed.step()

    @property
    def model(self) -> nn.Module:
        return self.scorer.model

    @contextlib.contextmanager
    def whole(self, parameter: nn.Parameter) -> Iterator[Tensor]:
        """One parameter, gathered on every rank while inside."""
        with self._gathered([parameter]):
            yield parameter.detach()

    @contextlib.contextmanager
    def sampling(self) -> Iterator[Any]:
        """The model itself, for `generate`."""
        self.deepspeed.eval()
        with torch.no_grad():
            yield self.model


def quiet_deepspeed() -> Any:
    """Import it without compilers: plain gloo instead of a shared-memory op that would be built at the first use."""
    # torch 2.13 tells at each of DeepSpeed's collectives that its name will change.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(torch\.distributed|deepspeed)\b")
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    return deepspeed


def numel(parameter: Any) -> int:
    """Of the whole parameter; partitioned ones look empty."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))
