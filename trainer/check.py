"""`python -m trainer check FOLDER`: whether transformers makes a causal language model of a staged folder, which of its
layers LoRA can go into, and what is wrong with it, all at once. Names and shapes are compared; no weight is read."""

import logging
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from core.contract.errors import BadModel
from planning import weights as weights_of
from planning.facts import Built, Fault, alike
from trainer import data, lora
from trainer import folder as model_folder

# What `architectures` says of a model that ends in something else than a table of tokens.
OTHER_HEADS = re.compile(
    r"For(MaskedLM|\w*Classification|QuestionAnswering|MultipleChoice|NextSentencePrediction|\w*Regression|\w*Detection"
    r"|Retrieval|\w*Embedding)$|Reward|ValueHead"
)
# What it says of one that ends in that table, pictures before it or not; transformers has a few names beside these.
LANGUAGE_MODEL = re.compile(r"For(CausalLM|ConditionalGeneration|\w*2Text)$|LMHead(Model)?$")
# Its configuration has `is_decoder: false`, as an encoder's does, and it is none.
DECODERS = {"gpt_neox_japanese"}
SHOWN = 3
# A template takes milliseconds.
TEMPLATE_SECONDS = 60.0
# As safetensors spells them; integers stand for masks and positions.
TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "U16": torch.uint16,
    "U32": torch.uint32,
    "U64": torch.uint64,
    "C64": torch.complex64,
}


def check(folder: Path, *, weights: bool = True, tokenizer: bool = True) -> Built:
    """Without `weights` or `tokenizer` where what is wrong with them is known already."""
    quiet()
    built = Built()
    try:
        config = known(folder)
    except BadModel as bad:
        # A tokenizer is found by its model's type.
        blame(built, bad)
        return built
    try:
        describe(build(folder, config, weights, built), built)
    except BadModel as bad:
        blame(built, bad)
    if tokenizer:
        try:
            look_at_tokenizer(folder)
        except BadModel as bad:
            blame(built, bad)
    return built


def blame(built: Built, bad: BadModel) -> None:
    built.faults.append(Fault(code=bad.code, message=bad.message))


def quiet() -> None:
    """transformers reports at length what `built.faults` says in a sentence."""
    from transformers import logging as reports

    reports.set_verbosity(logging.CRITICAL)
    reports.disable_progress_bar()


def build(folder: Path, config: Any, weights: bool, built: Built) -> Any:
    """On no device. Raises BadModel; what is wrong with the weights alone goes to `built`."""
    from transformers import AutoModelForCausalLM

    refuse_other_kinds(config)
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    # A configuration that makes no sense raises what its own class meets.
    except Exception as error:
        raise model_folder.refusal("model", error) from error
    # A decoder of a family of encoders says so in its configuration; else every position sees the answer ahead.
    causal = any(getattr(module, "is_causal", False) for module in model.modules())
    encodes = hasattr(type(config), "is_decoder") and not config.is_decoder and not causal
    encodes = encodes and config.model_type not in DECODERS
    # XLNet predicts in any order; XLM, and models made to embed texts, say in words of their own that they see ahead.
    inner = config.get_text_config()
    ahead = getattr(config, "causal", True) is False or not getattr(inner, "is_causal", True)
    ahead = ahead or getattr(inner, "use_bidirectional_attention", None) in (True, "all")
    if encodes or ahead or config.model_type == "xlnet":
        raise not_causal(config, "is an encoder, in which each token sees those behind it")
    if weights:
        compare(folder, type(model), config, built)
    return model


def known(folder: Path) -> Any:
    """The configuration, of a type that transformers knows by itself."""
    from transformers import CONFIG_MAPPING, __version__

    kind = model_folder.config(folder).get("model_type")
    if kind not in CONFIG_MAPPING:
        raise BadModel(
            f"config.json names the model type {kind!r}, which transformers {__version__} does not know, and code that "
            "comes with a model is never run; take a model of a type that it knows.",
            code="unknown_architecture",
        )
    return model_folder.load_config(folder)


def refuse_other_kinds(config: Any) -> None:
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    if getattr(config, "is_encoder_decoder", False):
        raise not_causal(config, "is an encoder-decoder")
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise not_causal(config, "is of a kind that does not write text token by token")
    names = [name for name in config.architectures or [] if isinstance(name, str)]
    other = next((name for name in names if OTHER_HEADS.search(name)), None)
    if other is not None and other.endswith("ForMaskedLM"):
        raise not_causal(config, f"is an encoder, which fills gaps in a text ({other})")
    if other is not None:
        raise not_causal(config, f"has another head than a language model's ({other})")
    own = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)].__name__
    if not any(name == own or LANGUAGE_MODEL.search(name) for name in names):
        named = ", ".join(names) or "no class"
        raise not_causal(
            config,
            f"was saved without a language model's head (`architectures`: {named}; with one it would be {own}), as "
            "those that embed texts are",
        )


def not_causal(config: Any, why: str) -> BadModel:
    return BadModel(
        f"config.json: a model of type {config.model_type!r} {why}; take a causal language model, one that continues "
        "a text.",
        code="not_causal",
    )


def compare(folder: Path, model: Any, config: Any, built: Built) -> None:
    """As the trainer loads it, from tensors that have names, shapes and types alone: what is missing or unlike."""
    found, _ = weights_of.read(folder)
    stored = {each.name: torch.empty(each.shape, dtype=TYPES[each.dtype], device="meta") for each in found}
    try:
        _, info = model.from_pretrained(
            None,
            config=config,
            state_dict=stored,
            device_map={"": "meta"},
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    # The loader raises what it meets; experts of unlike shapes end it too.
    except Exception as error:
        blame(built, BadModel(f"The weights do not fit config.json: {said(error)}.", code="weights_mismatch"))
        return
    missing = sorted(info["missing_keys"])
    if missing:
        message = f"The model's files hold no {some(missing)}; save the model again, with save_pretrained()."
        blame(built, BadModel(message, code="missing_weights"))
    unlike = sorted((name, tuple(held), tuple(wanted)) for name, held, wanted in info["mismatched_keys"])
    if unlike:
        name, held, wanted = unlike[0]
        more = f" and {len(unlike) - 1} more tensors differ" if unlike[1:] else ""
        message = (
            f"The weights do not fit config.json: {name} is {list(held)} where the model has {list(wanted)}{more}."
        )
        blame(built, BadModel(message, code="weights_mismatch"))


def some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def said(error: Exception) -> str:
    return model_folder.first_line(error).rstrip(".!: ")


def describe(model: Any, built: Built) -> None:
    """The linear layers that LoRA can go into, and the elements of experts that it cannot reach."""
    usable = lora.usable(model)
    layers = [(name, module) for name, module in model.named_modules() if name in usable]
    built.linear = alike((name, lora.features(module)) for name, module in layers)
    inside = {id(parameter) for _, module in layers for parameter in module.parameters()}
    names = {name: type(module).__name__ for name, module in model.named_modules()}
    for name, parameter in model.named_parameters():
        owner = name.rpartition(".")[0]
        held = "expert" in owner.lower() or "expert" in names[owner].lower()
        if held and parameter.ndim > 1 and id(parameter) not in inside:
            built.experts += parameter.numel()


def look_at_tokenizer(folder: Path) -> None:
    tokenizer = model_folder.load_tokenizer(folder)
    renderer = data.make_renderer(tokenizer, model_folder.end_tokens(folder))
    if renderer.template.sources:
        with bounded(TEMPLATE_SECONDS):
            renderer.template.compile()
            try:
                tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)
            # What else a template refuses depends on the conversation.
            except Exception:
                return


class Endless(BaseException):
    """No Exception, which jinja2 would take for what the template raises."""


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Raises BadModel where a template takes longer: seconds of this process's CPU, so that no busy node decides it."""

    def stop(*_: object) -> None:
        raise Endless

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    except Endless as error:
        raise BadModel(
            f"The model's chat template did not come to an end within {seconds:.0f} s for one short message: mend its "
            "loops, or add the model again with --chat-template.",
            code="chat_template_invalid",
        ) from error
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
