"""A process like the supervisor: publishes one sealed checkpoint of an attempt through worker.publisher.

`python publishing.py WORKSPACE FOLDER`, told the parts by its environment; prints what it took as JSON.
"""

import json
import sys
import time
from pathlib import Path

import live

from core import ids, settings
from core.contract.states import JobState
from core.contract.trainer_events import CheckpointSealed
from core.db import attempts, keys, nodes
from core.db.engine import transaction
from core.objects.store import Store
from tests.rows import make_job
from worker.publisher import Publisher

NODE, RANKS = "bench", 64  # more ranks than the real worker has slots: it leaves this job alone
LEASE_SECONDS = 600.0


def main(workspace: Path, folder: str) -> None:
    settings.parts()
    with transaction() as session:
        nodes.seen(session, NODE, RANKS, 0)
        job = make_job(session, state=JobState.QUEUED, ranks=RANKS)
        token = keys.create(session, job.project_id)[1]
    with transaction() as session:
        lease = attempts.claim(session, node=NODE, owner=ids.row_id(), lease_seconds=LEASE_SECONDS)
    if lease is None or lease.job_id != job.id:
        raise SystemExit("another job was claimed")
    store = Store.from_settings()
    store.has_bucket()
    peak = live.Peak()

    def publish() -> None:
        publisher = Publisher(lease, workspace, store, lease_seconds=LEASE_SECONDS, keep=1)
        publisher.take(CheckpointSealed(time=time.time(), step=1, path=folder))
        publisher.finish()

    seconds = live.timed(publish)
    print(json.dumps({"seconds": seconds, "growth": peak.growth(), "job": job.id, "token": token}))
    with transaction() as session:
        attempts.close(session, lease, attempts.Ending(attempts.Outcome.FAILED))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
