"""What must hold in the database at any moment, whoever was killed: a sentence each, and the SQL that finds breaches.

Each is one statement, so it sees one moment of a live service. `palate doctor` asks them all.
"""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

# Breaches named of each invariant; all are counted.
NAMED = 20


@dataclass(frozen=True)
class Invariant:
    """`sql` selects one text a breach: which rows, and what is wrong with them."""

    code: str
    sentence: str
    sql: str


@dataclass(frozen=True)
class Breach:
    """`rows`: the first of `count`."""

    code: str
    sentence: str
    count: int
    rows: list[str]


TERMINAL = "('succeeded', 'failed', 'cancelled')"

INVARIANTS = [
    Invariant(
        "one_open_attempt",
        "A job has at most one open attempt.",
        """SELECT job_id || ' has ' || count(*) FROM attempts WHERE ended_at IS NULL
           GROUP BY job_id HAVING count(*) > 1""",
    ),
    Invariant(
        "held_is_running",
        "A job runs if and only if an attempt of it is open.",
        """SELECT j.id || ' is ' || j.state || ', open attempts: ' || count(a.job_id)
           FROM jobs j LEFT JOIN attempts a ON a.job_id = j.id AND a.ended_at IS NULL
           GROUP BY j.id HAVING (j.state = 'running') <> (count(a.job_id) > 0)""",
    ),
    Invariant(
        "seats_of_the_held",
        "An open attempt has its seat on its node, with as many devices as slots; a seat of an ended attempt has no "
        "more than 5 minutes.",
        """SELECT a.job_id || ' attempt ' || a.epoch || ' holds ' || a.slots || ' on ' || a.node || ', its seat: '
               || coalesce(array_to_string(s.devices, ' ') || ' on ' || s.node, 'none')
           FROM attempts a LEFT JOIN seats s USING (job_id, epoch)
           WHERE a.ended_at IS NULL AND (s.job_id IS NULL OR s.ended_at IS NOT NULL OR s.node_rank <> 0
               OR s.node <> a.node OR cardinality(s.devices) <> a.slots)
           UNION ALL
           SELECT a.job_id || ' attempt ' || a.epoch || ' ended ' || a.ended_at || ', its seat on ' || s.node
               || ' has not'
           FROM seats s JOIN attempts a USING (job_id, epoch)
           WHERE s.ended_at IS NULL AND a.ended_at < now() - interval '5 minutes'""",
    ),
    Invariant(
        "devices_of_open_seats",
        "The devices in use are those of the open seats, each once.",
        """WITH open AS (
               SELECT node, unnest(devices) AS device, job_id, epoch FROM seats WHERE ended_at IS NULL)
           SELECT node || ' ' || device || ' is in ' || count(*) || ' open seats' FROM open
           GROUP BY node, device HAVING count(*) > 1
           UNION ALL
           SELECT coalesce(o.node, d.node) || ' ' || coalesce(o.device, d.device) || ': in an open seat of '
               || coalesce(o.job_id || ' a' || o.epoch, 'nobody') || ', in use by '
               || coalesce(d.job_id || ' a' || d.epoch, 'nobody')
           FROM open o FULL JOIN seat_devices d USING (node, device, job_id, epoch)
           WHERE o.node IS NULL OR d.node IS NULL""",
    ),
    Invariant(
        "epochs_rise",
        "The epochs of a job's attempts are 1, 2, 3 up to the job's own; each begins when the one before has ended.",
        """SELECT j.id || ' is at epoch ' || j.epoch || ' with ' || count(a.epoch) || ' attempts'
           FROM jobs j LEFT JOIN attempts a ON a.job_id = j.id
           GROUP BY j.id HAVING j.epoch <> coalesce(max(a.epoch), 0) OR j.epoch <> count(a.epoch)
           UNION ALL
           SELECT a.job_id || ': attempt ' || b.epoch || ' began before ' || a.epoch || ' had ended'
           FROM attempts a JOIN attempts b ON b.job_id = a.job_id AND b.epoch = a.epoch + 1
           WHERE a.ended_at IS NULL OR b.started_at < a.ended_at""",
    ),
    Invariant(
        "terminal_for_ever",
        "A job has an end if and only if its state is terminal, and no attempt begins after it.",
        f"""SELECT id || ' is ' || state || ', finished_at ' || coalesce(finished_at::text, 'null')
           FROM jobs WHERE (state IN {TERMINAL}) <> (finished_at IS NOT NULL)
           UNION ALL
           SELECT j.id || ': attempt ' || a.epoch || ' began after its end'
           FROM jobs j JOIN attempts a ON a.job_id = j.id WHERE a.started_at > j.finished_at""",
    ),
    Invariant(
        "no_resume_points_after_the_end",
        "A job that has ended has no resume points.",
        f"""SELECT j.id || ' is ' || j.state || ', resume points: ' || count(*)
           FROM jobs j JOIN resume_points r ON r.job_id = j.id WHERE j.state IN {TERMINAL} GROUP BY j.id""",
    ),
    Invariant(
        "events_without_gaps",
        "The events of a job are numbered 1, 2, 3 up to its last_seq; a job that ended long ago may have none left.",
        """SELECT j.id || ' has ' || count(e.seq) || ' events, last_seq ' || j.last_seq
           FROM jobs j LEFT JOIN events e ON e.job_id = j.id
           GROUP BY j.id
           HAVING (count(e.seq) <> j.last_seq OR coalesce(max(e.seq), 0) <> j.last_seq)
           AND NOT (count(e.seq) = 0 AND coalesce(j.finished_at < now() - interval '1 day', false))""",
    ),
    Invariant(
        "nothing_forgotten",
        "An accepted job is on its way: an expired lease is taken over within 5 minutes, and a job that waits for the "
        "checks of its data has a task of its own files or records that is alive.",
        """SELECT job_id || ': the lease of attempt ' || epoch || ' ended ' || lease_until
           FROM attempts WHERE ended_at IS NULL AND lease_until < now() - interval '5 minutes'
           UNION ALL
           SELECT j.id || ' waits for checks since ' || j.created_at || ', and nobody makes them'
           FROM jobs j
           WHERE j.state = 'validating_files' AND j.created_at < now() - interval '5 minutes' AND NOT EXISTS (
               SELECT 1 FROM tasks t WHERE t.state IN ('queued', 'running')
               AND (t.kind = 'inspect' AND t.payload ->> 'digest' IN (j.training_digest, j.validation_digest)
                   OR t.kind = 'validate_file' AND t.subject IN (j.training_file, j.validation_file)))""",
    ),
    Invariant(
        "steps_rise",
        "What an attempt commits lies behind the step that it resumed from.",
        """SELECT c.job_id || ': resume point of step ' || c.step || ', attempt ' || c.epoch || ' resumed from '
               || a.resumed_from_step
           FROM resume_points c JOIN attempts a USING (job_id, epoch) WHERE c.step <= a.resumed_from_step
           UNION ALL
           SELECT c.job_id || ': checkpoint of step ' || c.step || ', attempt ' || c.epoch || ' resumed from '
               || a.resumed_from_step
           FROM checkpoints c JOIN attempts a USING (job_id, epoch) WHERE c.step < a.resumed_from_step""",
    ),
    Invariant(
        "committed_by_the_holder",
        "Checkpoints and resume points lie under the prefix of their own attempt, which was open when they were "
        "committed.",
        """WITH committed AS (
               SELECT c.job_id, c.epoch, c.step, c.created_at, m.prefix,
                   'jobs/' || c.job_id || '/a' || c.epoch || '/checkpoints/step-' || c.step || '/' AS own
               FROM checkpoints c JOIN models m ON m.id = c.model_id
               UNION ALL
               SELECT job_id, epoch, step, created_at, prefix,
                   'jobs/' || job_id || '/a' || epoch || '/resume/step-' || step || '/'
               FROM resume_points)
           SELECT c.prefix || ' is listed as step ' || c.step || ' of attempt ' || c.epoch
           FROM committed c LEFT JOIN attempts a USING (job_id, epoch)
           WHERE a.job_id IS NULL OR c.prefix <> c.own OR c.created_at < a.started_at OR c.created_at > a.ended_at""",
    ),
    Invariant(
        "succeeded_has_a_model",
        "A job has succeeded if and only if its model is there.",
        """SELECT j.id || ' is ' || j.state || ', its model: ' || coalesce(j.fine_tuned_model, 'none')
           FROM jobs j LEFT JOIN models m ON m.job_id = j.id AND m.name = j.fine_tuned_model
           WHERE (j.state = 'succeeded') <> (m.id IS NOT NULL)
           OR (j.fine_tuned_model IS NOT NULL AND j.state <> 'succeeded')""",
    ),
    Invariant(
        "refused_is_not_finished",
        "No finished job's model is one that was refused when it was loaded again.",
        """SELECT j.id || ': step ' || c.step || ' was refused, and is its model'
           FROM jobs j JOIN models m ON m.job_id = j.id AND m.name = j.fine_tuned_model
           JOIN checkpoints c ON c.job_id = j.id JOIN models k ON k.id = c.model_id AND k.prefix = m.prefix
           WHERE (c.metrics ->> 'palate/verified')::float = 0""",
    ),
    Invariant(
        "one_project",
        "What belongs to a job belongs to its project.",
        """SELECT j.id || ': model ' || m.name FROM jobs j JOIN models m ON m.job_id = j.id
           WHERE m.project_id IS DISTINCT FROM j.project_id
           UNION ALL
           SELECT j.id || ': base model ' || m.name FROM jobs j JOIN models m ON m.id = j.model_id
           WHERE m.project_id IS NOT NULL AND m.project_id <> j.project_id
           UNION ALL
           SELECT j.id || ': file ' || f.id FROM jobs j JOIN files f ON f.id IN (j.training_file, j.validation_file)
           WHERE f.project_id <> j.project_id
           UNION ALL
           SELECT j.id || ': idempotency key' FROM jobs j JOIN idempotency_keys k ON k.job_id = j.id
           WHERE k.project_id <> j.project_id""",
    ),
]


def breaches(session: Session, named: int = NAMED) -> list[Breach]:
    found = []
    for each in INVARIANTS:
        rows = list(session.scalars(text(each.sql)))
        if rows:
            found.append(Breach(each.code, each.sentence, len(rows), rows[:named]))
    return found
