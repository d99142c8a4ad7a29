"""A model's folder on disk, without its weights: configuration, tokenizer, list of safetensors files."""

import json
from pathlib import Path
from typing import Any

from core.contract.errors import BadModel
from planning import facts
from trainer.failures import of_the_node

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
# Where config.json does not say how many tokens there are.
MOST_TOKENS = 2**31
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)
# What travels unchanged from the base model into every checkpoint, where it exists.
COMPANIONS = ("generation_config.json", *TOKENIZER)


def read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise BadModel(f"The model has no {path.name}.", param="model") from error
    except (ValueError, RecursionError) as error:
        raise BadModel(f"{path.name} of the model is not JSON.", param="model") from error
    if not isinstance(value, dict):
        raise BadModel(f"{path.name} of the model is not a JSON object.", param="model")
    return value


def config(folder: Path) -> dict[str, Any]:
    found = read_json(folder / "config.json")
    if "auto_map" in found:
        raise BadModel("The model brings code of its own, which is never run.", code="remote_code", param="model")
    return found


def context_length(folder: Path) -> int:
    found = facts.context_length(config(folder))
    if found is None:
        raise BadModel("config.json of the model names no context length.", param="model")
    return found


def vocabulary(folder: Path) -> int | None:
    """Rows of the table of tokens, where config.json says it."""
    found = config(folder)
    inner = found.get("text_config")
    rows = found.get("vocab_size", inner.get("vocab_size") if isinstance(inner, dict) else None)
    return rows if isinstance(rows, int) else None


def end_tokens(folder: Path) -> list[int]:
    """eos_token_id of generation_config.json, else of config.json: one, several, or none. Raises BadModel.

    A number beyond the model's table of tokens is left out: the model never writes it, and transformers lets it stand.
    """
    path = folder / "generation_config.json"
    path = path if path.exists() else folder / "config.json"
    value = read_json(path).get("eos_token_id")
    found = value if isinstance(value, list) else [] if value is None else [value]
    for each in found:
        if type(each) is not int or each < 0:
            raise BadModel(
                f"{path.name} of the model: `eos_token_id` holds {json.dumps(each)[:60]}, which is no token: write the "
                "number of a token, from 0, or a list of such numbers.",
                code="end_token_invalid",
                param="model",
            )
    rows = vocabulary(folder)
    return [each for each in found if each < (MOST_TOKENS if rows is None else rows)]


def load_tokenizer(folder: Path) -> Any:
    config(folder)
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    # The loader raises what it meets: OSError, ValueError, KeyError, or an exception of the Rust core.
    except Exception as error:
        raise refusal("model's tokenizer", error) from error


def load_config(folder: Path) -> Any:
    """As transformers understands it."""
    config(folder)
    from transformers import AutoConfig

    try:
        found = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        # A folder may name a kernel of the net here; what a run computes with is the trainer's choice.
        found._attn_implementation = found._experts_implementation = None
        return found
    # The loader raises what it meets: OSError, ValueError, KeyError, an exception of the configuration's own class.
    except Exception as error:
        raise refusal("model", error) from error


def rope_boundary(config: Any) -> int | None:
    """Tokens of an answer above which the model's rotary frequencies change, for the whole row at once."""
    inner = config.get_text_config()
    rope = getattr(inner, "rope_parameters", None) or {}
    kinds = [rope, *(each for each in rope.values() if isinstance(each, dict))]
    changing = [each for each in kinds if each.get("rope_type") in ("dynamic", "longrope")]
    originals = [each.get("original_max_position_embeddings") or inner.max_position_embeddings for each in changing]
    # An answer's last token is not fed.
    return min(originals) + 1 if originals else None


def refusal(what: str, error: Exception) -> BaseException:
    """What to raise where a library could not load `what`: BadModel, or what of the node's failed behind it."""
    return of_the_node(error) or BadModel(f"The {what} cannot be loaded: {first_line(error)}", param="model")


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files; pickles are never read. Raises BadModel where one is missing."""
    if (folder / INDEX).exists():
        told = read_json(folder / INDEX).get("weight_map")
        if not isinstance(told, dict) or not all(isinstance(name, str) for name in told.values()):
            raise BadModel(f"{INDEX} names no files of weights.", param="model")
        names = sorted(set(told.values()))
    else:
        names = [SINGLE]
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise BadModel(f"{INDEX} names {name!r}, which is no safetensors file beside it.", param="model")
        if not (folder / name).is_file():
            raise BadModel(f"The model has no {name}.", code="missing_weights", param="model")
    return [folder / name for name in names]


def first_line(error: BaseException) -> str:
    """Valid Unicode, whatever it quotes."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].encode(errors="backslashreplace").decode()
