"""`palate models`: the base models that jobs train from."""

import argparse
import re
import sys
import tempfile
from pathlib import Path

from cli import place, trainer_process
from cli.bar import moving
from cli.service import cleaned
from core.contract import manifest as manifests
from core.contract.errors import BadInput, BadModel
from planning import model_folder
from planning.at_rest import at_rest
from planning.facts import ModelFacts
from planning.model_folder import CONFIG, FILES, TOKENIZER, WEIGHTS, Look

NO_TEMPLATE = (
    "the model has no chat template, so only files with raw_text can train it; for all others give one with "
    "--chat-template."
)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")


def add(arguments: argparse.Namespace) -> int:
    """Checks, uploads under the digest of the content, commits the row last."""
    from core.db import models, projects
    from core.objects import keys

    name, template = arguments.name, arguments.chat_template
    if not NAME.fullmatch(name):
        raise BadInput(f"A model's name has letters, digits and . _ / -, at most 128 of them; {name!r} does not.")
    if template is not None and not (template.is_file() and template.read_text(errors="replace").strip()):
        raise BadModel(f"{template} holds no chat template.", code="chat_template_missing")
    if template is not None and model_folder.is_pointer(template):
        raise model_folder.pointer(template)
    with tempfile.TemporaryDirectory(prefix="palate-") as made:
        workspace = Path(made)
        folder = workspace / "model"
        folder.mkdir()
        # Links to the user's files are checked, hashed and uploaded, one after the other.
        with at_rest(*filter(None, (arguments.dir, arguments.adapter))):
            facts = prepare(arguments.dir, arguments.adapter, template, workspace, folder)
            manifest = manifests.build(folder)
        with place.session(arguments.home) as session:
            project = projects.by_name(session, arguments.project) if arguments.project else None
            project_id = project.id if project else None
        with at_rest(folder), place.store(arguments.home) as store:
            digest = manifest.digest()
            with moving(name, sum(entry.bytes for entry in manifest.files)) as moved:
                store.upload_folder(folder, manifest, keys.model(digest), links=True, progress=moved)
        with place.session(arguments.home) as session:
            row = models.add_base(
                session,
                name=name,
                digest=digest,
                prefix=keys.model(digest),
                manifest=manifest,
                facts=facts.model_dump(),
                project_id=project_id,
            )
            added = row.name
        templated = model_folder.has_template(folder)
    # The row is there: a reader that has left takes nothing back.
    print(f"{added}  {facts.parameters:,} parameters, {facts.dtype}, context {facts.context_length:,}")
    print(f"digest {digest}")
    if not templated:
        tell(NO_TEMPLATE)
    return 0


def prepare(source: Path, adapter: Path | None, template: Path | None, workspace: Path, folder: Path) -> ModelFacts:
    """Fills `folder` with what is stored of the model at `source`, checked. Raises BadModel with all that is wrong."""
    if source.is_file():
        source = unpacked(source, workspace)
    if adapter is not None:
        source = merged(source, adapter, workspace)
    found = model_folder.look(source, chat_template=template is not None)
    if found.sound(FILES, CONFIG):
        build(found, template, workspace, folder)
    for each in found.told:
        tell(each)
    found.refuse()
    assert found.facts is not None
    return found.facts


def build(found: Look, template: Path | None, workspace: Path, folder: Path) -> None:
    """Stages the model, and has the trainer build it; what it finds goes to `found`."""
    model_folder.stage(found.folder, folder, template)
    sound = {part: found.sound(part) for part in (WEIGHTS, TOKENIZER)}
    flags = [f"--no-{part}" for part, good in sound.items() if not good]
    built = trainer_process.check(folder, workspace, *flags)
    for fault in built.faults:
        found.fault(CONFIG, f"{found.folder}: {fault.message}", fault.code)
    if found.facts is not None:
        found.facts = found.facts.model_copy(update={"linear": built.linear, "experts": built.experts})


def unpacked(file: Path, workspace: Path) -> Path:
    """A GGUF file as a folder."""
    folder = workspace / "unpacked"
    for each in trainer_process.ask(workspace, "gguf", str(file.resolve()), str(folder)):
        tell(each)
    return folder


def merged(base: Path, adapter: Path, workspace: Path) -> Path:
    """The base with the adapter added to its weights; the base is checked first."""
    model_folder.check(base, chat_template=True)
    folder = workspace / "merged"
    for each in trainer_process.ask(workspace, "merge", str(base.resolve()), str(adapter.resolve()), str(folder)):
        tell(each)
    return folder


def tell(message: str) -> None:
    print(f"palate: {cleaned(message)}", file=sys.stderr)


def page(arguments: argparse.Namespace) -> int:
    from core.db import models

    with place.session(arguments.home) as session:
        for row in models.all_bases(session):
            print(f"{row.name}  {row.digest[:12]}  {row.facts.get('parameters', 0):>15,}  {row.created_at:%Y-%m-%d}")
    return 0
