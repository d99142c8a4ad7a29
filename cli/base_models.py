"""`palate models`: the base models that jobs train from."""

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli import place
from cli.bar import moving
from core.contract import manifest as manifests
from core.contract.errors import BadInput, BadModel
from planning import model_folder

NO_TEMPLATE = (
    "palate: the model has no chat template, so only files with raw_text can train it; for all others give one with "
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
    facts = model_folder.check(arguments.dir, chat_template=template is not None)
    with place.session(arguments.home) as session:
        project = projects.by_name(session, arguments.project) if arguments.project else None
        project_id = project.id if project else None
    with staged(arguments.dir, template) as folder, place.store(arguments.home) as store:
        manifest = manifests.build(folder)
        digest = manifest.digest()
        with moving(name, sum(entry.bytes for entry in manifest.files)) as moved:
            store.upload_folder(folder, manifest, keys.model(digest), progress=moved)
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
            print(f"{row.name}  {facts.parameters:,} parameters, {facts.dtype}, context {facts.context_length:,}")
            print(f"digest {digest}")
            if not model_folder.has_template(folder):
                print(NO_TEMPLATE, file=sys.stderr)
    return 0


@contextmanager
def staged(folder: Path, template: Path | None) -> Iterator[Path]:
    """The folder's own files, as links, beside the template given for it."""
    with tempfile.TemporaryDirectory(prefix="palate-") as made:
        for path in model_folder.files(folder):
            (Path(made) / path).symlink_to((folder / path).resolve())
        if template is not None:
            given = Path(made) / model_folder.TEMPLATE
            given.unlink(missing_ok=True)
            shutil.copyfile(template, given)
        yield Path(made)


def page(arguments: argparse.Namespace) -> int:
    from core.db import models

    with place.session(arguments.home) as session:
        for row in models.all_bases(session):
            print(f"{row.name}  {row.digest[:12]}  {row.facts.get('parameters', 0):>15,}  {row.created_at:%Y-%m-%d}")
    return 0
