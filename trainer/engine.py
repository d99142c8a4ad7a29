"""The only door to DeepSpeed's training (beside checkpoint): ZeRO-3 around the scorer."""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.contract.run_spec import Settings
from trainer import folder as model_folder
from trainer import fused, lora, model, parts
from trainer.ds_config import ds_config
from trainer.layouts import Batch
from trainer.rounding import Draws, into
from trainer.scorer import Scorer
from trainer.slope import Slope
from trainer.world import World

# Elements of a gradient that are widened to float64 at once.
PIECE = 1 << 20


class Engine:
    """Parameters, gradients and optimizer states partitioned over the ranks; every method is called by all of them."""

    def __init__(self, folder: Path, settings: Settings, world: World, seed: int = 0, recompute: bool = False) -> None:
        deepspeed = quiet_deepspeed()
        from transformers.integrations import HfDeepSpeedConfig

        known = model_folder.config(folder)
        hidden = int(known.get("hidden_size") or 1024)
        widest = max(hidden, int(known.get("intermediate_size") or 4 * hidden))
        config = ds_config(settings, hidden, widest, world.device.type == "cuda")
        # While this object lives, from_pretrained partitions each parameter as it is made.
        partitioning = HfDeepSpeedConfig(config)
        causal = model.load(folder, settings.precision)
        if world.device.type in fused.DEVICES:
            fused.fuse(causal)
        self.adapter = lora.inject(causal, settings.lora, seed) if settings.lora else None
        self.scorer = Scorer(causal)
        if recompute:
            self.scorer.recompute()
        # From here on from_pretrained is plain again: rank 0 reloads exported models on its own.
        del partitioning
        trained = [parameter for parameter in self.scorer.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(
            trained, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        self.deepspeed, *_ = deepspeed.initialize(model=self.scorer, optimizer=optimizer, config=config)
        keep_once(self.deepspeed.optimizer)
        self._gathered = deepspeed.zero.GatheredParameters
        self.world, self.seed, self.step = world, seed, 0
        self._names = {parameter: name for name, parameter in self.scorer.named_parameters()}
        if settings.precision == "bf16":
            self.deepspeed.optimizer._reassign_or_swap_out_partitioned_parameters = self._copy_masters

    def score(self, batch: Batch) -> Tensor:
        """[S, 2] with a graph (trainer.scorer)."""
        self.deepspeed.train()
        sums: Tensor = self.deepspeed(batch)
        return sums

    @torch.no_grad()
    def score_only(self, batch: Batch, *, reference: bool = False) -> Tensor:
        """[S, 2] without one. `reference`: as the model was before the first step, its adapter switched off."""
        self.deepspeed.eval()
        with lora.disabled(self.model) if reference else contextlib.nullcontext():
            sums: Tensor = self.deepspeed(batch)
        return sums

    def trace(self, batch: Batch, factors: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Sums [S, 2], and the gradient of their weighted sum at the embeddings; no parameter gets one."""
        leaf: list[Tensor] = []

        def cut(module: nn.Module, given: Any, found: Tensor) -> Tensor:
            leaf.append(found.detach().requires_grad_())
            return leaf[0]

        hook = self.model.get_input_embeddings().register_forward_hook(cut)  # type: ignore[operator]
        # DeepSpeed's linear layer makes a trained weight's gradient whether anybody asks for it or not.
        trained = [parameter for parameter in self._names if parameter.requires_grad]
        try:
            for parameter in trained:
                parameter.requires_grad_(False)
            self.deepspeed.eval()
            sums: Tensor = self.deepspeed(batch)
            weighted = (sums[:, 0] * torch.tensor(factors, device=sums.device)).sum()
            (gradient,) = torch.autograd.grad(weighted, leaf[0])
        finally:
            hook.remove()
            for parameter in trained:
                parameter.requires_grad_(True)
        return sums.detach(), gradient

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
                for piece in gradient.split(PIECE):
                    total += piece.double().square().sum()
        return total

    def update(self, learning_rate: float, step: int) -> None:
        """`step`: of the run, from 1."""
        self.step = step
        for group in self.deepspeed.optimizer.param_groups:
            group["lr"] = learning_rate
        self.deepspeed.step()

    def _copy_masters(self, group: int) -> None:
        """To bf16 by stochastic rounding, in the place of DeepSpeed's copy to nearest, by which most updates are lost.

        Run, step, parameter and element decide the draws, not the ranks.
        """
        optimizer, at = self.deepspeed.optimizer, 0
        weights, masters = optimizer.fp16_partitioned_groups_flat, optimizer.fp32_partitioned_groups_flat
        for parameter in optimizer.fp16_groups[group]:
            count = parameter.partition_numel()
            mine = slice(at, at + count)
            draws = Draws((self.seed, self.step, self._names[parameter]))
            into(weights[group].data[mine], masters[group].data[mine], draws, self.world.rank * count)
            at += count
        optimizer._unflatten_partitioned_parameters(group)

    def resumed(self, step: int) -> None:
        """After a resume point was loaded, by which DeepSpeed has rounded the masters to nearest: as after `step`."""
        self.step = step
        optimizer = self.deepspeed.optimizer
        if self.step and optimizer.dtype == torch.bfloat16:
            optimizer.checkpoint_event_prologue()
            for group in range(len(optimizer.fp16_groups)):
                self._copy_masters(group)
            optimizer.checkpoint_event_epilogue()

    def forget(self) -> None:
        """After a forward that raised: what it had gathered is partitioned again."""
        self.deepspeed.empty_partition_cache()

    @property
    def scaling(self) -> float | None:
        """alpha / r, as the layers apply it."""
        return next((layer.scaling[lora.NAME] for _, layer in lora.layers(self.model)), None)

    @property
    def model(self) -> nn.Module:
        model: nn.Module = self.scorer.model
        return model

    @contextlib.contextmanager
    def whole(self, *tensors: Tensor) -> Iterator[list[Tensor]]:
        """Parameters (and buffers, which are whole anyway), gathered on every rank while inside."""
        with self._gathered([tensor for tensor in tensors if isinstance(tensor, nn.Parameter)]):
            yield [tensor.detach() for tensor in tensors]

    @torch.no_grad()
    def merge_adapter(self, precision: str) -> Slope:
        """From here on the frozen weights are those that are exported, bit for bit, and the model without its adapter
        is the exported one; nothing can be trained any more. Returns what that changed, beside what it should have."""
        slope = Slope()
        assert self.adapter is not None
        assert self.scaling is not None
        for part in parts.of_model(self.model, model.DTYPES[precision], self.seed):
            if len(part.gathered) == 1:
                continue
            with self._gathered(list(part.gathered), modifier_rank=0):
                weight, a, b = (tensor.detach() for tensor in part.gathered)
                merged = torch.cat(list(part.make([weight, a, b]).values()))  # a file may hold it in pieces
                change = self.scaling * (b.float() @ a.float())
                change = change.T if self.adapter.fan_in_fan_out else change
                slope.add(part.entries[0].name, weight, merged, change)
                weight.copy_(merged)
        return slope

    @torch.no_grad()
    def update_kept(self, base: Path) -> Slope:
        """Of a run of all weights in bf16: what the weights, which are what is exported, hold of the masters' change.

        `base`: the folder that was trained, read by rank 0, which alone learns it.
        """
        slope, start = Slope(), model.Tensors(base)
        for part in parts.of_model(self.model, torch.bfloat16, self.seed):
            (parameter,) = part.gathered
            if not parameter.requires_grad:
                continue
            master = parameter._z3_optimizer.get_full_hp_param(parameter)  # type: ignore[attr-defined]
            with self.whole(parameter) as tensors:
                if not self.world.leads:
                    continue
                exact = part.exact([master])
                for name, weight in part.make(tensors).items():
                    # Where a file of the base holds several tensors as one, they are left out.
                    if name in start.files:
                        before = start[name].to(weight)
                        slope.add(name, before, weight, exact[name] - before.float())
        return slope

    @contextlib.contextmanager
    def sampling(self) -> Iterator[Any]:
        """The model itself, for `generate`."""
        self.deepspeed.eval()
        with torch.no_grad(), self.scorer.plain() as model:
            yield model


def keep_once(optimizer: Any) -> None:
    """fp32: the masters are the weights, not a copy of them; and the gradients of a step are not copied for its update.

    DeepSpeed 0.19.8 means the first (stage3.py, `_create_fp32_partitions`), but compares a device with its name.
    """
    parts = zip(optimizer.fp16_partitioned_groups_flat, optimizer.fp32_partitioned_groups_flat, strict=True)
    for weights, masters in parts:
        if weights.dtype == masters.dtype:
            masters.data = weights
    optimizer.flatten = flat


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """All elements behind one another, without a copy where they lie so already."""
    first, places = tensors[0], accumulate((each.numel() for each in tensors), initial=tensors[0].storage_offset())
    storage = first.untyped_storage().data_ptr()
    if all(
        each.is_contiguous() and each.untyped_storage().data_ptr() == storage and each.storage_offset() == place
        for each, place in zip(tensors, places, strict=False)
    ):
        return first.as_strided((sum(each.numel() for each in tensors),), (1,))
    return torch.cat([each.reshape(-1) for each in tensors])


def quiet_deepspeed() -> Any:
    """Import it without compilers: plain gloo instead of a shared-memory op that would be built at the first use."""
    # torch 2.13 tells at each of DeepSpeed's collectives that its name will change.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(torch\.distributed|deepspeed)\b")
    import deepspeed

    # Asking for one builds them all, and no GPU has this one.
    if deepspeed.accelerator.get_accelerator().device_name() == "cpu":
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    return deepspeed
