"""What may stand beside the answers and is no number: slice names, who judged, and variables of the chat template."""

import math
from typing import Any

from preferences.faults import RowFault

SLICES = ("group", "source", "language", "split")
_CHOICES = ("chosen", "rejected", "tie")
# What a server hands the template by itself, or that is no variable of it.
_NO_VARIABLES = frozenset(
    "conversation messages tools documents chat_template add_generation_prompt continue_final_message tokenize padding "
    "truncation max_length return_tensors return_dict return_assistant_tokens_mask tokenizer_kwargs "
    "sanitize_control_tokens self".split()
)
_OF_ANNOTATOR = frozenset({"id", "choice", "strength"})


def take(extra: dict[str, Any]) -> dict[str, Any]:
    """Moves them from the row's further keys; a slice name of another type than text or number stays there."""
    found: dict[str, Any] = {}
    for name in SLICES:
        if type(extra.get(name)) in (str, int) and extra[name] != "":
            found[name] = str(extra.pop(name))
    if _is_list_of_judgements(extra.get("annotators")):
        found["annotators"] = [_judgement(each, n) for n, each in enumerate(extra.pop("annotators"))]
    if (variables := extra.pop("chat_template_kwargs", None)) not in (None, {}):
        found["chat_template_kwargs"] = _variables(variables)
    return found


def _variables(value: Any) -> dict[str, Any]:
    """As vLLM and TRL take them."""
    at = "chat_template_kwargs"
    if type(value) is not dict:
        raise RowFault("field_type", at, f'`{at}` should be an object, as {{"enable_thinking": false}}.')
    for name in value:
        if not name.isidentifier() or name in _NO_VARIABLES:
            raise RowFault("field_type", f"{at}.{name}", f"`{name[:60]}` is no variable of a chat template.")
    return dict(value)


def _is_list_of_judgements(value: Any) -> bool:
    """What is called so by others is often a number or names alone, and stays in `meta`."""
    return type(value) is list and any(type(each) is dict and "choice" in each for each in value)


def _judgement(value: Any, number: int) -> dict[str, Any]:
    at = f"annotators[{number}]"
    if type(value) is not dict or value.keys() - _OF_ANNOTATOR:
        raise RowFault("field_type", at, f"`{at}` should be an object with `id`, `choice` and, if known, `strength`.")
    who, choice, strength = value.get("id"), value.get("choice"), value.get("strength")
    if type(who) not in (str, int):
        raise RowFault("field_type", f"{at}.id", f"`{at}.id` should be a text or a whole number.")
    if choice not in _CHOICES:
        raise RowFault("field_type", f"{at}.choice", f"`{at}.choice` should be chosen, rejected or tie.")
    made = {"id": str(who), "choice": choice}
    if strength is not None:
        if type(strength) not in (int, float) or not math.isfinite(strength):
            raise RowFault("field_type", f"{at}.strength", f"`{at}.strength` should be a number.")
        made["strength"] = float(strength)
    return made
