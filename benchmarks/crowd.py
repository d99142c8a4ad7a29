"""A database as it is after years: jobs by the hundred thousand, in every state, with events and attempts."""

from itertools import accumulate

from sqlalchemy import text

from core.db import engine as db
from core.db import nodes
from core.db.engine import transaction

NODE = "elsewhere"
# Of 1,000 jobs: the rest have succeeded.
FAILED, CANCELLED, QUEUED, RUNNING = 80, 20, 50, 1

COPIES = """
INSERT INTO jobs (id, project_id, key_id, spec, metadata, seed, model_id, training_file, training_digest, ranks,
                  priority, state, data, body_sha256, version, last_seq, epoch, created_at, finished_at)
SELECT 'ftjob-bench' || n, project_id, key_id, spec, NULL, seed, model_id, training_file, training_digest, ranks,
       0, s.state, data, 'bench' || n, 5, 5, CASE WHEN s.state = 'queued' THEN 0 ELSE 1 END,
       now() - (:count - n) * interval '1 minute',
       CASE WHEN s.state IN ('queued', 'running') THEN NULL ELSE now() - (:count - n) * interval '1 minute' END
FROM jobs, generate_series(1, :count) n, LATERAL (SELECT CASE
       WHEN n % 1000 < :failed THEN 'failed'
       WHEN n % 1000 < :cancelled THEN 'cancelled'
       WHEN n % 1000 < :queued THEN 'queued'
       WHEN n % 1000 < :running THEN 'running' ELSE 'succeeded' END AS state) s
WHERE jobs.id = :job
"""
EVENTS = """
INSERT INTO events (job_id, seq, id, level, type, message, data)
SELECT id, n, 'ftevent-bench' || n || '-' || id, 'info', 'metrics', 'Step 100/200: training loss=0.5123',
       '{"step": 100, "total_steps": 200, "train_loss": 0.5123, "rewards/margins": 1.25}'
FROM jobs, generate_series(1, 5) n WHERE id LIKE 'ftjob-bench%'
"""
ATTEMPTS = """
INSERT INTO attempts (job_id, epoch, node, owner, slots, lease_until, ended_at)
SELECT id, 1, :node, 'nobody', ranks, now() + interval '1 day', finished_at FROM jobs
WHERE id LIKE 'ftjob-bench%' AND state <> 'queued'
"""


def state_of(number: int) -> str:
    """Of the job `ftjob-bench{number}`."""
    place = number % 1_000
    return next((name for name, bound in bounds().items() if place < bound), "succeeded")


def bounds() -> dict[str, int]:
    steps = {"failed": FAILED, "cancelled": CANCELLED, "queued": QUEUED, "running": RUNNING}
    sums = list(accumulate(steps.values()))
    return dict(zip(steps, sums, strict=True))


def fill(url: str, job_id: str, count: int) -> None:
    """`count` jobs like that one; of its node, which is drained so that none of them starts."""
    db.configure(db.make_engine(url, statement_timeout_ms=600_000))
    with transaction() as session:
        for node in nodes.known(session):
            node.draining = True
        nodes.seen(session, NODE, 1_000, 0)
        session.execute(text(COPIES), {"count": count, "job": job_id, **bounds()})
        session.execute(text(EVENTS))
        session.execute(text(ATTEMPTS), {"node": NODE})
    with db.engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM (ANALYZE)"))
    db.configure(None)
