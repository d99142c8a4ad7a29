"""A base model's folder, checked before a byte of it is stored: weights whole, tokenizer there, no code.

Nothing of it is executed or unpickled. What the checks say is one sentence: what is wrong, where, and what to do.
"""

from pathlib import Path
from typing import Any

from core.contract.errors import BadModel
from planning import weights
from planning.facts import CONTEXT, ModelFacts, facts
from planning.model_json import read_json

TEMPLATE = "chat_template.jinja"
VOCABULARIES = (("tokenizer.model",), ("vocab.json", "merges.txt"), ("vocab.txt",))
# Their keys are tokens or tensors, not settings.
NOT_SETTINGS = {"tokenizer.json", "vocab.json", "added_tokens.json", weights.INDEX}
KEPT = {".json", ".jinja", ".model", ".txt", ".md"}


def check(folder: Path, *, chat_template: bool = False) -> ModelFacts:
    """The facts of a usable folder, else BadModel. `chat_template`: one is given beside the folder."""
    if not folder.is_dir():
        raise BadModel(f"{folder} is not a folder; name the one that holds config.json.", code="folder_missing")
    stay_inside(folder)
    refuse_code(folder)
    config = configuration(folder)
    found = weights.read(folder)
    tokenizer(folder, chat_template)
    known = facts(config, found)
    if known is None:
        raise bad_config(folder / "config.json", f"it names no context length (`{CONTEXT[0]}`)")
    return known


def files(folder: Path) -> list[Path]:
    """What belongs to the model, relative to the folder: pickles, hidden files and folders beside it do not."""
    own = set(weights.names(folder))
    return sorted(
        path.relative_to(folder)
        for path in folder.iterdir()
        if path.is_file() and not path.name.startswith(".") and (path.name in own or path.suffix in KEPT)
    )


def stay_inside(folder: Path) -> None:
    root = folder.resolve()
    for path in folder.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise BadModel(
                f"{path} is a link out of the folder; copy the model with its links followed (cp -rL).",
                code="symlink_refused",
            )


def refuse_code(folder: Path) -> None:
    for path in sorted(folder.rglob("*.py")):
        raise BadModel(f"{path} is code, which is never run; remove it.", code="remote_code_refused")
    for path in sorted(folder.rglob("*.json")):
        if path.name not in NOT_SETTINGS and mentions(read_json(path), "auto_map"):
            raise BadModel(
                f"{path} names code in `auto_map`, which is never run; use a model that transformers knows by itself.",
                code="remote_code_refused",
            )


def mentions(value: Any, key: str) -> bool:
    if isinstance(value, dict):
        return key in value or any(mentions(each, key) for each in value.values())
    return isinstance(value, list) and any(mentions(each, key) for each in value)


def configuration(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise BadModel(f"{folder} has no config.json; name the folder that holds it.", code="config_missing")
    config = read_json(path)
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise bad_config(path, "it names no `model_type`")
    match config.get("architectures"):
        case [str(), *_]:
            return config
        case _:
            raise bad_config(path, "it names no `architectures`")


def tokenizer(folder: Path, chat_template: bool) -> None:
    settings = folder / "tokenizer_config.json"
    described = read_json(settings, "tokenizer_missing") if settings.is_file() else {}
    if (folder / "tokenizer.json").is_file():
        read_json(folder / "tokenizer.json", "tokenizer_missing")
    elif not described or not any(all((folder / name).is_file() for name in names) for names in VOCABULARIES):
        raise BadModel(
            f"{folder} has no tokenizer.json; save the tokenizer there with save_pretrained().",
            code="tokenizer_missing",
        )
    if not chat_template and template_of(folder, described) == "":
        raise BadModel(
            f"{folder} has an empty chat template, in {TEMPLATE} or {settings.name}; give one with --chat-template.",
            code="chat_template_missing",
        )


def has_template(folder: Path) -> bool:
    """Of a folder that `check` has passed. Without one a model can be trained on raw texts only."""
    settings = folder / "tokenizer_config.json"
    return template_of(folder, read_json(settings, "tokenizer_missing") if settings.is_file() else {}) is not None


def template_of(folder: Path, described: Any) -> str | None:
    """None: there is none."""
    if (folder / TEMPLATE).is_file():
        return (folder / TEMPLATE).read_text(errors="replace").strip()
    match described:
        case {"chat_template": str(template)}:
            return template.strip()
        case {"chat_template": [*several]}:
            default = [
                each.get("template", "") for each in several if isinstance(each, dict) and each.get("name") == "default"
            ]
            return str(default[0]).strip() if default else ""
        case _:
            return None


def bad_config(path: Path, what: str) -> BadModel:
    return BadModel(
        f"{path} cannot be used: {what}; take the one that was saved with the model.", code="config_invalid"
    )
