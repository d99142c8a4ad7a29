"""A base model's folder, checked before a byte of it is stored: weights whole, tokenizer there, nothing quantised.

Nothing of it is executed or unpickled. All that is wrong is said at once, each as one sentence: what is wrong, where,
and what to do. Whether transformers can build the model is the trainer's to say (trainer.check).
"""

import json
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.contract.errors import BadModel
from planning import model_json, quantised, sizes, tensors, weights
from planning.facts import CONTEXT, ModelFacts, context_length, facts
from planning.model_json import FOREIGN, mentions, read_json
from planning.weights import listed

TEMPLATE = "chat_template.jinja"
ADAPTER = "adapter_config.json"
VOCABULARIES = (("tokenizer.model",), ("vocab.json", "merges.txt"), ("vocab.txt",))
# Without one of each a folder holds no model.
MODEL = (("config.json",), (weights.SINGLE, weights.INDEX))
# Their keys are tokens or tensors, not settings.
NOT_SETTINGS = {"tokenizer.json", "vocab.json", "added_tokens.json", weights.INDEX}
KEPT = {".json", ".jinja", ".model", ".txt", ".md"}
POINTER = b"version https://git-lfs.github.com/spec/"
KINDS = ((stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"))
# Parts of a folder: what is not sound is looked at no further.
FILES, CONFIG, LENGTH, WEIGHTS, TOKENIZER, OTHER = "files", "config", "length", "weights", "tokenizer", "other"


@dataclass
class Look:
    """What was seen of a folder: its faults, each with the part that it is of; `told`: what of it is left out of the
    stored model. `facts` where configuration and weights are sound."""

    folder: Path
    facts: ModelFacts | None = None
    faults: list[tuple[str, BadModel]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def fault(self, part: str, message: str, code: str) -> None:
        self.faults.append((part, BadModel(message, code=code)))

    def sound(self, *parts: str) -> bool:
        return not any(part in parts for part, _ in self.faults)

    def refuse(self) -> None:
        """Raises BadModel where there is a fault: the fault itself, or a list of all."""
        several = [bad for _, bad in self.faults]
        if len(several) == 1:
            raise several[0]
        if several:
            each = "".join(f"\n{n:3}. {bad.message} ({bad.code})" for n, bad in enumerate(several, 1))
            codes = {bad.code for bad in several}
            raise BadModel(
                f"{len(several)} things are wrong with {self.folder}:{each}\nNothing of it is stored.",
                code=codes.pop() if len(codes) == 1 else None,
            )


def check(folder: Path, *, chat_template: bool = False) -> ModelFacts:
    """The facts of a usable folder, else BadModel. `chat_template`: one is given beside the folder."""
    found = look(folder, chat_template=chat_template)
    found.refuse()
    assert found.facts is not None
    return found.facts


def look(folder: Path, *, chat_template: bool = False) -> Look:
    found = Look(folder)
    if not folder.is_dir():
        found.fault(FILES, f"{folder} is not a folder; name the one that holds config.json.", "folder_missing")
        return found
    if not os.access(folder, os.R_OK | os.X_OK):
        found.fault(FILES, f"{folder} may not be read by this user; change its permissions.", "file_invalid")
        return found
    odd_files(found)
    if not found.sound(FILES):
        return found
    pointers = pointed(found)
    alone = not all(any((folder / name).exists() for name in names) for names in MODEL)
    if (folder / ADAPTER).exists():
        adapter(found, alone)
    if not (alone and (folder / ADAPTER).exists()):
        whole(found, chat_template, pointers)
    return found


def whole(found: Look, chat_template: bool, pointers: set[str]) -> None:
    """Configuration, weights and tokenizer; not those that are `pointers` only."""
    folder = found.folder
    config = None
    if "config.json" not in pointers:
        try:
            config = configuration(folder)
        except BadModel as bad:
            found.faults.append((CONFIG, bad))
    held: list[tensors.Tensor] = []
    if not any(name == weights.INDEX or name.endswith(".safetensors") for name in pointers):
        held, faults = weights.read(folder)
        found.faults += [(WEIGHTS, bad) for bad in faults]
    if config is not None:
        found.faults += [(CONFIG, bad) for bad in sizes.faults(folder / "config.json", config)]
        quantisation = quantised.fault(folder, config, held)
        if quantisation is not None:
            found.faults.append((WEIGHTS, quantisation))
        if context_length(config) is None:
            missing = bad_config(folder / "config.json", f"it names no context length (`{CONTEXT[0]}`)")
            found.faults.append((LENGTH, missing))
    if not pointers & {"tokenizer.json", "tokenizer_config.json", TEMPLATE}:
        tokenizer(found, chat_template)
    own_code(found, pointers)
    if config is not None and held and found.sound(CONFIG, LENGTH, WEIGHTS):
        found.facts = facts(config, held)


def files(folder: Path) -> list[Path]:
    """What belongs to the model, relative to the folder: pickles, hidden files and folders beside it do not."""
    try:
        own = set(weights.names(folder))
    except BadModel:  # which `look` has told
        own = set()
    found = [path for path in kept(folder) if path.name in own or path.suffix in KEPT]
    return sorted(path.relative_to(folder) for path in found if path.name != ADAPTER)


def stage(folder: Path, into: Path, template: Path | None = None) -> None:
    """Fills the empty `into` with what would be stored of a folder that has been looked at: links to its files, and its
    JSON files without the code that they name. `template` takes the place of its own. Raises BadModel for a link that
    leads out."""
    for name in files(folder):
        path = folder / name
        # A link may have come since the folder was looked at.
        real = path.resolve()
        if not real.is_relative_to(folder.resolve()) or not stat.S_ISREG(real.lstat().st_mode):
            raise BadModel(
                f"{path} is a link out of the folder; copy the model with its links followed (cp -rL).",
                code="symlink_refused",
            )
        settings = settings_of(real)
        if any(mentions(settings, key) for key in FOREIGN):
            (into / name).write_text(json.dumps(model_json.without(settings, *FOREIGN), indent=2, ensure_ascii=False))
        else:
            (into / name).symlink_to(real)
    if template is not None:
        (into / TEMPLATE).unlink(missing_ok=True)
        shutil.copyfile(template, into / TEMPLATE)


def settings_of(path: Path) -> Any:
    """None: no settings, or none that can be read."""
    if path.suffix != ".json" or path.name in NOT_SETTINGS:
        return None
    try:
        return read_json(path)
    except BadModel:  # which `look` has told
        return None


def kept(folder: Path) -> list[Path]:
    """The folder's own files: not those of folders in it, nor hidden ones."""
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def odd_files(found: Look) -> None:
    """Links that lead out or nowhere, and what is no file at all: reading it might never end."""
    for path in entries(found.folder):
        if not path.name.isprintable():
            message = f"{found.folder} has a file whose name holds control characters, {path.name!a}; rename it."
            found.fault(FILES, message, "file_invalid")
            continue
        if path.is_symlink() and not path.exists():
            found.fault(FILES, f"{path} is a link that leads nowhere, or in a circle; remove it.", "symlink_refused")
        elif path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(found.folder)):
            found.fault(
                FILES,
                f"{path} is a link out of the folder; copy the model with its links followed (cp -rL).",
                "symlink_refused",
            )
        elif not path.is_dir():
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode):
                kind = next((name for test, name in KINDS if test(mode)), "no regular file")
                found.fault(FILES, f"{path} is {kind}, not a file; remove it.", "file_invalid")
            elif path.parent == found.folder and not os.access(path, os.R_OK):
                found.fault(FILES, f"{path} may not be read by this user; change its permissions.", "file_invalid")


def entries(folder: Path) -> Iterator[Path]:
    """All below the folder, hidden files and folders apart; links to folders are not followed."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place) / name for name in sorted([*folders, *names]) if not name.startswith("."))


def pointed(found: Look) -> set[str]:
    """The files that hold Git-LFS's pointer in place of their content."""
    names = [path.name for path in kept(found.folder) if is_pointer(path)]
    if names:
        message = (
            f"{found.folder} holds Git-LFS pointers in place of files ({listed(names)}); run `git lfs pull` there."
        )
        found.fault(FILES, message, "lfs_pointer")
    return set(names)


def is_pointer(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(len(POINTER)) == POINTER


def pointer(file: Path) -> BadModel:
    return BadModel(f"{file} is a Git-LFS pointer in place of the file; run `git lfs pull` there.", code="lfs_pointer")


def adapter(found: Look, alone: bool) -> None:
    path = found.folder / ADAPTER
    try:
        told = read_json(path)
    except BadModel as bad:
        found.faults.append((FILES, bad))
        return
    base = told.get("base_model_name_or_path") if isinstance(told, dict) else None
    kind = str(told.get("peft_type") or "").upper() if isinstance(told, dict) else ""
    named = f"{'a LoRA' if kind == 'LORA' else 'an'} adapter of {base or 'a base that it does not name'}"
    if not alone:
        found.fault(
            FILES,
            f"{path} is {named} beside a whole model: which of them is meant? Remove the adapter's files, or move them "
            "to a folder of their own and merge them with --adapter FOLDER.",
            "adapter_beside_model",
        )
    else:
        found.fault(
            FILES,
            f"{found.folder} is {named}, not a model; merge it into its base: `palate models add NAME BASE_FOLDER "
            f"--adapter {found.folder}`.",
            "model_is_adapter",
        )


def own_code(found: Look, pointers: set[str]) -> None:
    """Code, and settings that name code, are left out: never run, and not needed where transformers knows the type."""
    own = [path.name for path in kept(found.folder) if path.suffix == ".py"]
    naming: dict[str, list[str]] = {}
    for path in kept(found.folder):
        if path.suffix == ".json" and path.name not in NOT_SETTINGS | pointers:
            try:
                settings = read_json(path)
                for key in FOREIGN:
                    if mentions(settings, key):
                        naming.setdefault(key, []).append(path.name)
            except BadModel as bad:
                if bad.message not in [each.message for _, each in found.faults]:
                    found.faults.append((TOKENIZER if path.name == "generation_config.json" else OTHER, bad))
    if own:
        found.told.append(f"left out: {listed(own)}; code is never run.")
    for key, names in naming.items():
        found.told.append(f"left out: `{key}` of {listed(names)}; the code that it names is never run.")


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


def tokenizer(found: Look, chat_template: bool) -> None:
    folder = found.folder
    settings = folder / "tokenizer_config.json"
    described: Any = {}
    for path in (settings, folder / "tokenizer.json"):
        if path.is_file():
            try:
                told = read_json(path, "tokenizer_missing")
            except BadModel as bad:
                found.faults.append((TOKENIZER, bad))
            else:
                described = told if path == settings else described
    vocabulary = any(all((folder / name).is_file() for name in names) for names in VOCABULARIES)
    if not (folder / "tokenizer.json").is_file() and not (settings.is_file() and vocabulary):
        found.fault(
            TOKENIZER,
            f"{folder} has no tokenizer.json; save the tokenizer there with save_pretrained().",
            "tokenizer_missing",
        )
    if not chat_template and template_of(folder, described) == "":
        found.fault(
            TOKENIZER,
            f"{folder} has an empty chat template, in {TEMPLATE} or {settings.name}; give one with --chat-template.",
            "chat_template_missing",
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
