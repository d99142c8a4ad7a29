"""Loading a causal language model from safetensors: checked first, without dropout, without foreign code."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.contract.errors import BadModel
from planning import quantised
from planning.model_folder import ADAPTER
from planning.tensors import Tensor as Told
from trainer import folder as model_folder
from trainer.safetensors_file import table

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def find_damage(folder: Path, rank: int = 0, ranks: int = 1) -> BadModel | None:
    """Reads this rank's share of the tensors: a truncated file, a NaN or an infinity is told before training starts.

    So are quantised weights, by their header: an older version of Palate may have stored them.
    """
    from safetensors import SafetensorError, safe_open

    try:
        for path in model_folder.weight_files(folder):
            try:
                with safe_open(path, framework="pt") as tensors:
                    for name in sorted(tensors.keys())[rank::ranks]:
                        entry = tensors.get_slice(name)
                        told = Told(name, entry.get_dtype(), tuple(entry.get_shape()), 0, 0)
                        if quantised.is_quantised(told):
                            return BadModel(
                                f"The model's weights are quantised ({name} in {path.name} is {told.dtype}) and cannot "
                                f"be trained; {quantised.INSTEAD}, and add it under a new name.",
                                code="quantised_weights",
                                param="model",
                            )
                        if not torch.isfinite(tensors.get_tensor(name)).all():
                            return BadModel(
                                f"The weight {name} in {path.name} holds NaN or infinite numbers.",
                                code="non_finite_weights",
                                param="model",
                            )
            except SafetensorError as error:
                return BadModel(
                    f"{path.name} is damaged: {model_folder.first_line(error)}.", code="damaged_weights", param="model"
                )
    except BadModel as bad:
        return bad
    return None


def load(folder: Path, precision: str, *, nothing_left: bool = False) -> nn.Module:
    """On every rank; partitioned as it is built where DeepSpeed's configuration is alive (trainer.engine).

    `nothing_left`: nor may the files hold what the model has no place for.
    """
    from transformers import AutoModelForCausalLM

    config = model_folder.load_config(folder)
    if (folder / ADAPTER).exists():
        # transformers would lay it over the model, and `missing_keys` would be the adapter's.
        raise BadModel(
            f"The model has an {ADAPTER} beside its weights: add the model again, without it or with --adapter.",
            code="adapter_beside_model",
            param="model",
        )
    without_dropout(config)
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=DTYPES[precision],
            trust_remote_code=False,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    # The loader raises what it meets: OSError, ValueError, KeyError, RuntimeError for shapes, SafetensorError.
    except Exception as error:
        raise model_folder.refusal("model", error) from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise BadModel(f"The model's files hold no {missing[0]}.", code="missing_weights", param="model")
    unknown = sorted(info["unexpected_keys"])
    if nothing_left and unknown:
        raise BadModel(f"The model has no place for {unknown[0]}.", code="unknown_weights", param="model")
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    assert isinstance(model, nn.Module)
    return model


def without_dropout(config: Any) -> None:
    """Policy and reference must be one function at step 0. The exported config.json is the base model's own."""
    for name, value in list(vars(config).items()):
        if "drop" in name and isinstance(value, float):
            setattr(config, name, 0.0)


class Tensors:
    """Those of a folder by name, read one at a time."""

    def __init__(self, folder: Path) -> None:
        self.files = {name: path for path in model_folder.weight_files(folder) for name in table(path)}

    def __getitem__(self, name: str) -> Tensor:
        from safetensors import safe_open

        with safe_open(self.files[name], framework="pt") as tensors:
            found: Tensor = tensors.get_tensor(name)
        return found
