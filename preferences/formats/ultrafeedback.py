"""UltraFeedback, binarized: the prompt as a text, and both answers as dialogues that repeat it."""

from preferences.draft import Draft, Row, remaining
from preferences.faults import RowFault
from preferences.formats import dialogue, scores
from preferences.formats.argilla import RATINGS
from preferences.turns import read_text, read_turns

NAME = "ultrafeedback_binarized"
KEYS = "`prompt` (a text) and `chosen`, `rejected`, lists of messages that repeat it; `score_chosen`, `score_rejected`"
_USED = frozenset({"prompt", "chosen", "rejected", "system", "tools", "id"})
_SCORES = (("score_chosen", "score_rejected"), ("chosen_score", "rejected_score"), *RATINGS)


def matches(row: Row) -> bool:
    dialogues = isinstance(row.get("chosen"), list) or isinstance(row.get("rejected"), list)
    return dialogues and isinstance(row.get("prompt"), str)


def read(row: Row) -> Draft:
    extra = remaining(row, _USED)
    if extra.get("messages") == row.get("chosen"):
        extra.pop("messages", None)
    text = read_text(row.get("prompt"), "prompt")
    chosen = read_turns(row.get("chosen"), "chosen", extra)
    rejected = read_turns(row.get("rejected"), "rejected", extra)
    if chosen and rejected and chosen[0]["role"] == rejected[0]["role"] == "assistant":
        prompt = [{"role": "user", "content": text}]
    else:
        prompt, chosen, rejected = dialogue.part(chosen, rejected, ("chosen", "rejected"))
        if not any((turn.get("content") or "").strip() == text.strip() for turn in prompt):
            raise RowFault("no_common_prefix", "prompt", "The dialogues do not begin with the text of `prompt`.")
    if row.get("system"):
        prompt = [{"role": "system", "content": read_text(row["system"], "system")}, *prompt]
    draft = Draft(prompt, (chosen, rejected), ("prompt", "chosen", "rejected"), row.get("tools"), extra)
    return scores.take(draft, _SCORES)
