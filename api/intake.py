"""POST /v1/files: from the socket to the store, with neither the disk nor the memory of this process between."""

import asyncio

from anyio import to_thread
from fastapi import Request

from api.body import declared_bytes, pieces
from api.deps import Services
from api.form import Form
from api.transfer import Transfer, given_up, too_large
from api.wishes import Wishes, judge
from core import ids
from core.contract.errors import Unavailable
from core.db import files, intakes
from core.db.engine import transaction
from core.db.keys import Caller
from core.db.tables import File

FORM_BYTES = 1 << 20


async def take(request: Request, services: Services, caller: Caller) -> File:
    """The committed row. Whatever ends it early, nothing of it is left in the store."""
    limit = services.settings.max_file_bytes
    form = Form(request.headers.get("content-type", ""))
    if (declared_bytes(request) or 0) > limit + FORM_BYTES:
        raise too_large(limit)
    with services.intakes.one(caller.project_id):
        transfer = Transfer(
            ids.file_id(),
            services.store,
            services.store_threads,
            part_bytes=services.settings.intake_part_bytes,
            limit=limit,
            seen_every=services.settings.intake_seen_seconds * services.settings.time_scale,
        )
        try:
            async for piece in pieces(request, services.settings.intake_idle_seconds):
                for chunk in form.feed(piece):
                    await transfer.write(chunk)
            form.close()
            wishes = judge(form, transfer.bytes)
            await transfer.finish()
            file = await to_thread.run_sync(_commit_surely, transfer, wishes, caller.project_id, form.filename or "")
        except BaseException:
            await asyncio.shield(transfer.abandon())
            raise
    services.bell.ring()
    return file


def _commit_surely(transfer: Transfer, wishes: Wishes, project_id: str, filename: str) -> File:
    """Once more where the database did not answer: the file may be there already, and only the answer was lost."""
    try:
        return _commit(transfer, wishes, project_id, filename)
    except Unavailable:
        return _commit(transfer, wishes, project_id, filename)


def _commit(transfer: Transfer, wishes: Wishes, project_id: str, filename: str) -> File:
    with transaction() as session:
        if not intakes.end(session, transfer.file_id):
            if (there := files.committed(session, project_id, transfer.file_id)) is not None:
                return there
            raise given_up(transfer.file_id)
        return files.create(
            session,
            file_id=transfer.file_id,
            project_id=project_id,
            filename=filename,
            purpose=wishes.purpose,
            bytes=transfer.bytes,
            sha256=transfer.sha256,
            object_key=transfer.key,
            options=wishes.options,
            expires_seconds=wishes.expires_seconds,
        )
