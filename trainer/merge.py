"""`python -m trainer merge BASE ADAPTER FOLDER`: a base model with a LoRA adapter added to its weights, in fp32.

A sum rounded to bf16 would lose most of a small change. The adapter's tokenizer and template, where it brings them, are
those that it was trained with.
"""

import json
import re
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

from core.contract import manifest
from core.contract.errors import BadModel
from planning import model_folder as sources
from planning import quantised, tensors
from trainer import folder as model_folder
from trainer.failures import of_the_node
from trainer.folder import first_line
from trainer.safetensors_file import BASE_DIGEST

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def merge(base: Path, adapter: Path, folder: Path) -> list[str]:
    """Fills the empty or missing `folder`; returns what a person should know. Raises BadModel."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    told = settings(adapter)
    another = other_base(base, adapter, told)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            base, dtype=torch.float32, trust_remote_code=False, local_files_only=True, use_safetensors=True
        )
    # The loader raises what it meets.
    except Exception as error:
        raise model_folder.refusal("base model", error) from error
    try:
        with warnings.catch_warnings():
            # It warns of tensors without a place, which are an error here.
            warnings.simplefilter("ignore")
            merged = PeftModel.from_pretrained(model, adapter, is_trainable=False)
        refuse_strays(merged, adapter)
        whole: Any = merged.merge_and_unload(safe_merge=True)
    except Exception as error:
        message = f"{adapter} does not fit the base {base}: {first_line(error).rstrip('.')}."
        raise of_the_node(error) or BadModel(message, code="adapter_unfit") from error
    whole.save_pretrained(folder)
    config = model_folder.read_json(base / "config.json") | {"dtype": "float32"}
    config.pop("torch_dtype", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False))
    brought = (adapter / "tokenizer_config.json").is_file() and (adapter / "tokenizer.json").is_file()
    tokenizer = adapter if brought else base
    for name in model_folder.TOKENIZER:
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, folder / name)
    if (base / "generation_config.json").is_file():
        shutil.copyfile(base / "generation_config.json", folder / "generation_config.json")
    named = told.get("base_model_name_or_path") or "a base that it does not name"
    whose = "the adapter's" if brought else "the base's"
    return [f"{adapter}, an adapter of {named}, is merged into {base} in fp32; the tokenizer is {whose}.", *another]


def settings(adapter: Path) -> dict[str, Any]:
    """adapter_config.json of an adapter that can be added to the weights."""
    if not (adapter / CONFIG).is_file() or not (adapter / WEIGHTS).is_file():
        lacks = CONFIG if not (adapter / CONFIG).is_file() else WEIGHTS
        raise BadModel(f"{adapter} has no {lacks}; name the folder of a LoRA adapter.", code="adapter_missing")
    for name in (CONFIG, WEIGHTS, *model_folder.TOKENIZER):
        if (adapter / name).is_file() and sources.is_pointer(adapter / name):
            raise sources.pointer(adapter / name)
    try:
        told = json.loads((adapter / CONFIG).read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadModel(f"{adapter / CONFIG} is not JSON: {first_line(error)}.", code="adapter_unfit") from error
    kind = told.get("peft_type") if isinstance(told, dict) else None
    if kind != "LORA":
        raise BadModel(f"{adapter} is no LoRA adapter (peft_type: {kind}); merge it by hand.", code="adapter_unfit")
    packed = next((each for each in tensors.read(adapter / WEIGHTS) if quantised.is_quantised(each)), None)
    if packed is not None:
        message = f"{adapter} holds quantised weights ({packed.name} is {packed.dtype}); {quantised.INSTEAD}."
        raise BadModel(message, code="quantised_weights")
    return dict(told)


def other_base(base: Path, adapter: Path, told: dict[str, Any]) -> list[str]:
    """What to say where Palate's export names its base by digest, and this one has another. Older exports name it as
    the revision; one of the Hub is a shorter hash.
    """
    from safetensors import safe_open

    with safe_open(adapter / WEIGHTS, framework="pt") as opened:
        about = opened.metadata() or {}
    found = (about.get(BASE_DIGEST), told.get("revision"))
    named = [each for each in found if isinstance(each, str) and re.fullmatch("[0-9a-f]{64}", each)]
    if not named:
        return []
    with tempfile.TemporaryDirectory() as made:
        sources.stage(base, Path(made))
        digest = manifest.build(Path(made)).digest()
    if digest == named[0]:
        return []
    return [
        f"the adapter was trained on a base of digest {named[0][:12]}, and {base} has {digest[:12]}: its weights, or "
        "only its tokenizer, template or settings, are others. Merge it into its own base, unless you mean this one."
    ]


def refuse_strays(merged: Any, adapter: Path) -> None:
    """Tensors of the adapter's file that the base has no place for, or the other way round; PEFT passes over both."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    with safe_open(adapter / WEIGHTS, framework="pt") as opened:
        held, wanted = set(opened.keys()), set(get_peft_model_state_dict(merged))
    if held - wanted:
        raise ValueError(f"it holds {min(held - wanted)}, which the base has no place for")
    if wanted - held:
        raise ValueError(f"it lacks {min(wanted - held)}")
