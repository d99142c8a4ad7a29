"""What stands between a fault and what it would spoil: each guard, how it is taken away, and the test that cries."""

from dataclasses import dataclass

ATTEMPTS, CLAIM, DATABASE, QUEUE = "core/db/attempts.py", "worker/claim.py", "test_database.py", "test_queue.py"
HERE = "tests/integration/"


@dataclass(frozen=True)
class Guard:
    """`held` stands exactly once in `path`; with `gone` in its place `test` must fail."""

    name: str
    path: str
    held: str
    gone: str
    test: str


GUARDS = [
    Guard(
        "a write needs an open attempt",
        ATTEMPTS,
        "            Attempt.ended_at.is_(None),\n            Job.id == Attempt.job_id,",
        "            Job.id == Attempt.job_id,",
        f"{HERE}{DATABASE}::test_a_closed_attempt_can_write_nothing",
    ),
    Guard(
        "a write needs the owner's name",
        ATTEMPTS,
        "            Attempt.owner == lease.owner,\n            Attempt.ended_at.is_(None),\n            Job.id",
        "            Attempt.ended_at.is_(None),\n            Job.id",
        f"{HERE}{DATABASE}::test_another_owner_of_the_same_epoch_is_fenced",
    ),
    Guard(
        "a resume point commits under the lease",
        "worker/publisher.py",
        "        attempts.hold(session, lease, lease_seconds)\n        checkpoints.commit_resume_point(",
        "        checkpoints.commit_resume_point(",
        "tests/model/test_zombies.py",
    ),
    Guard(
        "a renewed lease is not taken over",
        ATTEMPTS,
        "    if lapsed is None:",
        "    if False:",
        f"{HERE}{DATABASE}::test_a_lease_that_was_renewed_is_not_taken_over",
    ),
    Guard(
        "claims skip what another claims (SKIP LOCKED)",
        ATTEMPTS,
        ".with_for_update(skip_locked=True, of=Job)",
        ".with_for_update(of=Job)",
        f"{HERE}{DATABASE}::test_two_nodes_claim_at_once_without_waiting",
    ),
    Guard(
        "a node's slots are counted under its lock",
        ATTEMPTS,
        "~Node.draining).with_for_update())",
        "~Node.draining))",
        f"{HERE}{DATABASE}::test_one_node_does_not_claim_twice_at_once",
    ),
    Guard(
        "used slots count",
        ATTEMPTS,
        "free = slots - taken - int(session.scalar(used) or 0)",
        "free = slots - taken",
        f"{HERE}{DATABASE}::test_a_claim_takes_the_job_and_its_slots",
    ),
    Guard(
        "slots of ranks that would not die count",
        ATTEMPTS,
        "free = slots - taken - int",
        "free = slots - int",
        f"{HERE}{DATABASE}::test_slots_of_what_would_not_die_are_not_given_away",
    ),
    Guard(
        "a postponed job waits",
        ATTEMPTS,
        "            Job.run_after <= func.now(),\n            Job.ranks <= slots,",
        "            Job.ranks <= slots,",
        f"{HERE}{QUEUE}::test_a_postponed_job_says_that_it_backs_off",
    ),
    Guard(
        "a drained node claims nothing",
        ATTEMPTS,
        "Node.name == node, ~Node.draining)",
        "Node.name == node)",
        f"{HERE}{QUEUE}::test_a_drained_node_claims_nothing",
    ),
    Guard(
        "a long waiting job lets none pass",
        ATTEMPTS,
        "(Job.ranks <= free) | waited,",
        "Job.ranks <= free,",
        f"{HERE}{QUEUE}::test_a_large_job_that_waited_long_lets_none_pass",
    ),
    Guard(
        "max_running is counted under the project's lock",
        ATTEMPTS,
        "session.scalar(limited.with_for_update())",
        "session.scalar(limited)",
        f"{HERE}{QUEUE}::test_two_nodes_that_claim_at_once_do_not_pass_the_limit_together",
    ),
    Guard(
        "max_queued refuses",
        "core/db/submit.py",
        "    has_room(session, project_id)\n",
        "",
        f"{HERE}{QUEUE}::test_creating_one_job_too_many_is_refused",
    ),
    Guard(
        "a job that killed two nodes gets no third",
        CLAIM,
        ">= POISON_NODES",
        "> 99",
        f"{HERE}{QUEUE}::test_a_job_under_which_two_nodes_fell_silent_is_quarantined",
    ),
    Guard(
        "terminal is for ever",
        "core/db/jobs.py",
        "update(Job).where(Job.id == job.id, Job.state.in_(legal))",
        "update(Job).where(Job.id == job.id)",
        f"{HERE}{DATABASE}::test_a_wish_reaches_the_holder_and_decides_the_end",
    ),
    Guard(
        "seq has no gaps",
        "core/db/events.py",
        "last_seq=Job.last_seq + count",
        "last_seq=Job.last_seq + count + 1",
        f"{HERE}{DATABASE}::test_seq_is_contiguous_and_each_move_has_one_event",
    ),
    Guard(
        "resume points go with the job",
        "worker/close.py",
        "                if state.terminal:\n",
        "                if False:\n",
        "tests/model/test_machine.py::test_postgres_does_what_the_reference_does",
    ),
    Guard(
        "an idempotency key belongs to one body",
        "core/db/submit.py",
        "if bound.body_sha256 != body_sha256:",
        "if False:",
        f"{HERE}api/test_idempotency.py::test_a_key_names_one_job",
    ),
    Guard(
        "two requests with one key do not run at once",
        "core/db/submit.py",
        "if not session.scalar(select(func.pg_try_advisory_xact_lock(_lock(project_id, idempotency_key)))):",
        "if False:",
        f"{HERE}api/test_idempotency.py::test_twelve_at_once_are_one",
    ),
    Guard(
        "a file is its project's",
        "core/db/files.py",
        "query = select(File).where(File.id == file_id, File.project_id == project_id, live())",
        "query = select(File).where(File.id == file_id, live())",
        f"{HERE}api/test_files.py::test_another_projects_file_is_an_unknown_one",
    ),
    Guard(
        "a revoked key ends",
        "core/db/keys.py",
        " or row.revoked_at is not None",
        "",
        f"{HERE}api/test_doors.py::test_a_revoked_key_ends_within_five_seconds",
    ),
    Guard(
        "a key needs its secret",
        "core/db/keys.py",
        " or not same",
        "",
        f"{HERE}api/test_doors.py::test_the_right_id_with_another_secret",
    ),
    Guard(
        "what is downloaded has its sha256",
        "core/objects/store.py",
        "if sha256 is not None and digest.hexdigest() != sha256:",
        "if False:",
        f"{HERE}test_objects.py::test_a_download_appears_whole_and_right_or_not_at_all",
    ),
    Guard(
        "what is uploaded is what was sealed",
        "core/objects/store.py",
        "if (stored.bytes, stored.sha256) != (entry.bytes, entry.sha256):",
        "if False:",
        f"{HERE}test_objects.py::test_a_file_that_changes_on_the_way_up_is_refused",
    ),
    Guard(
        "a holder that cannot renew ends itself",
        "worker/heartbeat.py",
        "- self._renewed > self._fence:",
        "- self._renewed > 1e9:",
        "tests/faults/test_database_away.py::test_a_holder_that_cannot_renew_ends_itself_before_another_takes_over",
    ),
    Guard(
        "the ranks of a zombie die",
        CLAIM,
        "        if not processes.kill_all(space.processes()):",
        "        if lease is not None and not processes.kill_all(space.processes()):",
        "tests/faults/test_zombie.py",
    ),
    Guard(
        "a run that hangs is ended",
        "worker/supervisor.py",
        "                self.space.dump_stacks()\n                launcher.end(self.space, process)",
        "                self.space.dump_stacks()",
        f"{HERE}worker/test_attempts.py::test_a_run_that_falls_silent_is_ended_with_its_stacks_and_goes_on",
    ),
]

# Quick ones, of three kinds: fence, claim, bytes.
IN_EVERY_RUN = ("a write needs an open attempt", "used slots count", "what is downloaded has its sha256")
