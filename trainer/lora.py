"""LoRA (Hu et al. 2021): beside a frozen W [out, in] a trained B A, so that a layer computes W x + alpha / r x B A x.

A is drawn as nn.Linear draws its weight, B is 0: a fresh adapter changes nothing, bit for bit. Both have the run's
dtype, as ZeRO-3 wants one for all parameters; in bf16 their fp32 masters are the optimizer's, as with full weights.
"""

import contextlib
import difflib
import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from core.contract.errors import BadModel
from core.contract.run_spec import Lora
from trainer import folder as model_folder
from trainer import summed

if TYPE_CHECKING:
    from peft import LoraConfig

NAME = "default"
PARAM = "method.dpo.hyperparameters.lora.target_modules"


def inject(model: nn.Module, lora: Lora, seed: int) -> "LoraConfig":
    """In place, the same adapter on every number of ranks; everything else is frozen. Raises BadModel."""
    from peft import LoraConfig, inject_adapter_in_model
    from transformers.pytorch_utils import Conv1D

    targets = find_targets(model, lora.target_modules)
    reached = [module for name, module in model.named_modules() if matches(name, targets)]
    config = LoraConfig(
        r=lora.r,
        # An integer where it is one, as other readers of adapter_config.json expect.
        lora_alpha=int(lora.alpha) if lora.alpha.is_integer() else lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        target_modules=targets,
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in reached),
        task_type="CAUSAL_LM",
    )
    try:
        inject_adapter_in_model(config, model, NAME)
    # PEFT knows architectures of which some layers bypass their own forward, and so any adapter.
    except ValueError as error:
        raise BadModel(
            f"LoRA cannot be put into this model: {model_folder.first_line(error)}", code="lora_unfit", param=PARAM
        ) from error
    for path, layer in layers(model):
        layer.lora_A[NAME].weight.data.copy_(initial(path, layer, seed))
        nn.init.zeros_(layer.lora_B[NAME].weight)
        summed.install(layer, NAME)
    return config


def initial(path: str, layer: Any, seed: int) -> Tensor:
    """A [r, in], Kaiming-uniform with a = sqrt(5), decided by the seed and the layer's name alone."""
    generator = torch.Generator()
    generator.manual_seed(int.from_bytes(hashlib.sha256(f"{seed} {path}".encode()).digest()[:7], "big"))
    a = torch.empty(layer.lora_A[NAME].weight.shape)
    nn.init.kaiming_uniform_(a, a=math.sqrt(5), generator=generator)
    return a


def check(folder: Path, wanted: list[str] | None) -> None:
    """Whether a model has the modules, from its configuration alone, without a weight. Raises BadModel."""
    from transformers import AutoConfig, AutoModelForCausalLM

    model_folder.config(folder)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    with torch.device("meta"):
        find_targets(AutoModelForCausalLM.from_config(config), wanted)


def find_targets(model: Any, wanted: list[str] | None) -> list[str]:
    """Names as PEFT matches them: a module's path or the end of it. None: all linear layers but the head."""
    modules, linear = named(model), linear_layers(model)
    fit = usable(model)
    if wanted is None:
        if not fit:
            raise BadModel("LoRA finds no linear layer in this model.", code="lora_unfit", param=PARAM)
        short = sorted({last(name) for name in fit})
        found = {name for name in modules if matches(name, short)}
        return short if found == fit else sorted(fit)
    if not wanted:
        raise BadModel("LoRA needs at least one target module.", code="unknown_modules", param=PARAM)
    for target in wanted:
        reached = [name for name in modules if matches(name, [target])]
        if not reached:
            raise BadModel(unknown(target, fit), code="unknown_modules", param=PARAM)
        for name in reached:
            if name not in fit:
                why = not_taken(model, {last(name)}) if name in linear else {}
                message = why.get(last(name)) or unfit(target, name, modules[name], name in linear)
                raise BadModel(message, code="lora_unfit", param=PARAM)
    return sorted(set(wanted))


def named(model: Any) -> dict[str, nn.Module]:
    return {name: module for name, module in model.named_modules() if name}


def linear_layers(model: Any) -> set[str]:
    from transformers.pytorch_utils import Conv1D

    return {name for name, module in named(model).items() if isinstance(module, nn.Linear | Conv1D)}


def usable(model: Any) -> set[str]:
    """The layers that an adapter can go into."""
    fit = linear_layers(model) - shared(model, named(model))
    refused = not_taken(model, {last(name) for name in fit})
    return {name for name in fit if last(name) not in refused}


def not_taken(model: Any, names: set[str]) -> dict[str, str]:
    """Of these modules' names, those into which PEFT puts no LoRA in this architecture, and why.

    Some layers of state-space models bypass their forward. And where transformers keeps experts as one parameter, PEFT
    takes a name that they have in files for that parameter, in the layers too where it is a module's.
    """
    from peft import LoraConfig
    from peft.tuners.tuners_utils import _check_lora_target_modules_mamba as check_state_space
    from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers as convert

    found: dict[str, str] = {}
    for name in sorted(names):
        config = LoraConfig(target_modules=[name])
        try:
            check_state_space(config, model, name)
        except ValueError:
            found[name] = f"{name} of this architecture bypasses its own forward, and so any adapter. Leave it out."
            continue
        try:
            convert(config, model, None)
            taken = set(config.target_modules or ()) == {name}
        # Of a name that PEFT takes for a part of such a parameter, where the others are not named as well.
        except ValueError:
            taken = False
        if not taken:
            found[name] = f"{name} names experts in this architecture, which LoRA leaves as they are. Leave it out."
    return found


def features(layer: Any) -> tuple[int, int]:
    """Out, in; a Conv1D keeps its weight transposed."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    rows, columns = weight.shape
    return (int(rows), int(columns)) if isinstance(layer, nn.Linear) else (int(columns), int(rows))


def shared(model: Any, modules: dict[str, nn.Module]) -> set[str]:
    """The embeddings, the head, and what shares a weight with them or with another module."""
    ends = [model.get_input_embeddings(), model.get_output_embeddings()]
    holders: dict[int, set[str]] = {}
    for name, module in modules.items():
        for parameter in module.parameters(recurse=False):
            holders.setdefault(id(parameter), set()).add(name)
    tied = {name for names in holders.values() if len(names) > 1 for name in names}
    return tied | {name for name, module in modules.items() if any(module is end for end in ends)}


def matches(name: str, targets: list[str]) -> bool:
    return any(name == target or name.endswith(f".{target}") for target in targets)


def last(name: str) -> str:
    return name.rpartition(".")[2]


def unknown(target: str, usable: set[str]) -> str:
    names = sorted({last(name) for name in usable})
    near = difflib.get_close_matches(last(target), names, n=3, cutoff=0.5)
    guess = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"The model has no module {target}.{guess} LoRA can go into: {', '.join(names[:12])}."


def unfit(target: str, name: str, module: nn.Module, linear: bool) -> str:
    if linear or isinstance(module, nn.Embedding):
        return (
            f"{target} names {name}: LoRA on the embeddings, the head or tied weights is not supported. Leave it out."
        )
    return f"{target} names {name}, a {type(module).__name__}: LoRA goes into linear layers only."


def layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """(path, PEFT's layer) of each adapted module, in the model's order."""
    from peft.tuners.lora import LoraLayer

    for path, module in model.named_modules():
        if isinstance(module, LoraLayer):
            yield path, module


@contextlib.contextmanager
def disabled(model: nn.Module) -> Iterator[None]:
    """The base model alone, while inside."""
    adapted = [layer for _, layer in layers(model)]
    for layer in adapted:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in adapted:
            layer.enable_adapters(True)


def merged(layer: Any, weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """W + scaling x B A in fp32, in the shape of `weight` (Conv1D keeps W transposed)."""
    change: Tensor = (b.float() @ a.float()) * layer.scaling[NAME]
    return weight.float() + (change.T if layer.fan_in_fan_out else change)
