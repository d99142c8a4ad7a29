"""What stands between a fault and what it would spoil: each guard, how it is taken away, and the test that cries."""

from importlib import import_module
from pathlib import Path

from tests.guards.guard import Guard

ATTEMPTS, CLAIM, DATABASE = "core/db/attempts.py", "worker/claim.py", "test_database.py"
FENCES, HERE, KILLS = "test_fences.py", "tests/integration/", "tests/faults/test_failpoints.py"

# Of leases and of jobs.
OF_HOLDERS = [
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
        "terminal is for ever",
        "core/db/jobs.py",
        "update(JOBS).where(JOBS.c.id == job_id, JOBS.c.state.in_(legal))",
        "update(JOBS).where(JOBS.c.id == job_id)",
        f"{HERE}{DATABASE}::test_a_wish_reaches_the_holder_and_decides_the_end",
    ),
    Guard(
        "seq has no gaps",
        "core/db/events.py",
        "last_seq=JOBS.c.last_seq + count",
        "last_seq=JOBS.c.last_seq + count + 1",
        f"{HERE}{DATABASE}::test_seq_is_contiguous_and_each_move_has_one_event",
    ),
    Guard(
        "resume points go with the job",
        "worker/close.py",
        "        if state.terminal:\n",
        "        if False:\n",
        "tests/faults/test_hung_celery.py::test_a_run_does_not_notice",
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
        "one resume point is in flight",
        "trainer/points.py",
        "not self._in_flight() and ",
        "",
        "tests/unit/trainer/test_points.py::test_none_is_due_while_one_is_in_flight",
    ),
    Guard(
        "what is stored, or given up, is named",
        "worker/publisher.py",
        "        rename(beneath.partial(stored, str(step)), stored)\n",
        "",
        f"{HERE}worker/test_publisher.py::test_what_is_stored_is_named_and_gone_from_the_disk",
    ),
    Guard(
        "a resume point's row comes after its bytes",
        "worker/publisher.py",
        "        self._store.upload_folder(folder, manifest, prefix)\n"
        "        commit_resume_point(self._lease, self._lease_seconds, sealed.step, prefix, manifest)",
        "        commit_resume_point(self._lease, self._lease_seconds, sealed.step, prefix, manifest)\n"
        "        self._store.upload_folder(folder, manifest, prefix)",
        "tests/faults/test_store_away.py::test_what_is_sealed_is_published_when_the_store_is_back[cut]",
    ),
    Guard(
        "what an attempt left is collected",
        ATTEMPTS,
        '    tasks.collect(session, f"{lease.job_id}/a{lease.epoch}", job_id=lease.job_id, epoch=lease.epoch)\n',
        "",
        "tests/integration/worker/test_orphans.py::"
        "test_what_no_row_names_goes_an_hour_after_the_attempt_and_nothing_else",
    ),
    Guard(
        "what an intake names goes with its row",
        "core/db/intakes.py",
        "        tasks.add(session, kind=TaskKind.DELETE_OBJECTS",
        "        0 and tasks.add(session, kind=TaskKind.DELETE_OBJECTS",
        f"{HERE}test_deleting.py::test_an_upload_that_nobody_feeds_is_aborted_after_ten_minutes",
    ),
    Guard(
        "nobody counts on records that are being deleted",
        "worker/validate_task.py",
        "if tasks.deleting(session, digest) or not store.has(keys.canonical(digest)):",
        "if not store.has(keys.canonical(digest)):",
        f"{HERE}worker/test_tasks.py::test_records_that_are_being_deleted_are_not_counted_on",
    ),
    Guard(
        "a task of a later release is left to it",
        "core/db/tasks.py",
        "RUNNING = (Task.state == TaskState.RUNNING) & KNOWN",
        "RUNNING = Task.state == TaskState.RUNNING",
        "tests/faults/test_newer_schema.py::test_a_worker_serves_a_newer_schema",
    ),
    Guard(
        "a node with a full disk claims nothing",
        "worker/claim.py",
        "        if not has_room():",
        "        if False:",
        "tests/faults/test_full_disk.py::test_a_node_with_a_full_disk_leaves_the_job_to_another",
    ),
    Guard(
        "only the store's own failures are counted against its tries",
        "worker/patience.py",
        "stores += error.code == AWAY",
        "stores += 1",
        "tests/faults/test_database_away.py::test_an_outage_nearly_as_long_as_the_lease_costs_no_attempt",
    ),
    Guard(
        "a run's verdict does not hang on its logs",
        "worker/supervisor.py",
        "        except (Unavailable, OSError) as error:\n            log.warning(\"the ranks' logs",
        "        except ZeroDivisionError as error:\n            log.warning(\"the ranks' logs",
        "tests/faults/test_lying_store.py::test_a_blip_behind_the_training_changes_nothing",
    ),
    Guard(
        "a body that trickles is refused",
        "api/body.py",
        "            if came < LEAST_BYTES_PER_SECOND * waited:",
        "            if came < 0:",
        "tests/faults/test_hostile_bodies.py::test_who_sends_a_byte_now_and_then_is_told_too",
    ),
    Guard(
        "the collector keeps what a row names",
        "worker/orphans.py",
        "key not in kept and not",
        "not",
        f"{HERE}worker/test_orphans.py::test_what_no_row_names_goes_an_hour_after_the_attempt_and_nothing_else",
    ),
    Guard(
        "nothing of an open attempt is collected",
        "worker/orphans.py",
        "if attempts.is_open(session, job_id, epoch):",
        "if False:",
        f"{HERE}worker/test_orphans.py::test_nothing_of_an_open_attempt_goes",
    ),
    Guard(
        "an upload that is fed is not aborted",
        "worker/orphans.py",
        "each.upload_id not in fed and not of_open_attempt(session, each.key)",
        "not of_open_attempt(session, each.key)",
        f"{HERE}worker/test_orphans.py::test_uploads_that_stand_still_are_aborted",
    ),
    Guard(
        "a checkpoint outlives its job's run",
        "core/db/models.py",
        "or_(Job.model_id == model.id, Job.id == model.job_id)",
        "Job.model_id == model.id",
        f"{HERE}api/test_models.py::test_a_checkpoint_stays_until_its_job_has_ended",
    ),
    Guard(
        "the ranks of a zombie die",
        CLAIM,
        "        if not processes.kill_all(space.processes()):",
        "        if lease is not None and not processes.kill_all(space.processes()):",
        "tests/faults/test_zombie.py::test_a_zombie_writes_nothing_and_leaves",
    ),
    Guard(
        "progress whose commit was not heard of is looked for before it is written again",
        "worker/recorder.py",
        "events.unknown(session, job.id, self._events) if doubtful else self._events",
        "self._events",
        "tests/faults/test_lost_replies.py::test_a_run_loses_the_answer_to_each_kind_of_write",
    ),
    Guard(
        "a claim whose commit was not heard of is looked for",
        CLAIM,
        "        start_doubtful()\n",
        "",
        "tests/faults/test_lost_replies.py::test_a_claim_that_was_made_is_found_again",
    ),
    Guard(
        "a resume point is committed once",
        "core/db/checkpoints.py",
        "if session.get(ResumePoint, (job_id, step, epoch)) is not None:",
        "if False:",
        "tests/faults/test_lost_replies.py::test_a_run_loses_the_answer_to_each_kind_of_write",
    ),
    Guard(
        "a file whose commit was not heard of is looked for",
        "api/intake.py",
        "    except Unavailable:\n        return _commit",
        "    except ZeroDivisionError:\n        return _commit",
        "tests/faults/test_lost_replies.py::test_a_file_is_stored_once_and_said_so",
    ),
    Guard(
        "the resume point before a damaged one is used",
        "worker/resume.py",
        "        except (ManifestMismatch, NotFound):\n            passed",
        "        except ZeroDivisionError:\n            passed",
        "tests/faults/test_lying_store.py::test_a_resume_point_that_cannot_be_trusted",
    ),
    Guard(
        "a full disk is no fault of the file",
        "worker/task.py",
        "isinstance(error, Unavailable) or is_full(error)",
        "isinstance(error, Unavailable)",
        "tests/faults/test_full_disk.py::test_no_room_to_validate_is_no_fault_of_the_file",
    ),
    Guard(
        "a run that hangs is ended",
        "worker/supervisor.py",
        "                self.space.dump_stacks()\n                launcher.end(self.space, process)",
        "                self.space.dump_stacks()",
        f"{HERE}worker/test_attempts.py::test_a_run_that_falls_silent_is_ended_with_its_stacks_and_goes_on",
    ),
    Guard(
        "a write needs the epoch",
        ATTEMPTS,
        "            Attempt.epoch == lease.epoch,\n            Attempt.owner == lease.owner,\n"
        "            Attempt.ended_at.is_(None),\n            Job.id",
        "            Attempt.owner == lease.owner,\n            Attempt.ended_at.is_(None),\n            Job.id",
        f"{HERE}{FENCES}::test_another_epoch_of_the_same_owner_is_fenced",
    ),
    Guard(
        "results are written by who still holds",
        ATTEMPTS,
        "            Attempt.ended_at.is_(None),\n        )\n        .with_for_update(read=True)",
        "        )\n        .with_for_update(read=True)",
        f"{HERE}{FENCES}::test_who_was_closed_is_told_so_before_it_writes",
    ),
    Guard(
        "an attempt is closed by its holder",
        ATTEMPTS,
        "    hold(session, lease, 0)\n    session.execute(",
        "    session.execute(",
        f"{HERE}{DATABASE}::test_a_closed_attempt_can_write_nothing",
    ),
    Guard(
        "one open attempt a job, says the database",
        "migrations/versions/0001_the_first_schema.py",
        '"uq_attempts_open", "attempts", ["job_id"], unique=True',
        '"uq_attempts_open", "attempts", ["job_id"], unique=False',
        f"{HERE}{FENCES}::test_the_database_itself_refuses_a_second_open_attempt",
    ),
    Guard(
        "a checkpoint commits under the lease",
        "worker/publisher.py",
        "            attempts.hold(session, self._lease, self._lease_seconds)\n",
        "",
        f"{HERE}{FENCES}::test_a_checkpoint_of_a_closed_attempt_is_not_listed",
    ),
    Guard(
        "a lease has to have run out to be taken over",
        ATTEMPTS,
        "            Attempt.lease_until + timedelta(seconds=grace_seconds) < func.now(),\n        )\n",
        "        )\n",
        f"{HERE}{DATABASE}::test_a_lease_that_was_renewed_is_not_taken_over",
    ),
    Guard(
        "a Task is its holder's: the epoch",
        "core/db/tasks.py",
        "            Task.epoch == claim.epoch,\n",
        "",
        f"{HERE}{FENCES}::test_a_task_is_its_holders",
    ),
    Guard(
        "a Task is its holder's: the owner",
        "core/db/tasks.py",
        "            Task.owner == claim.owner,\n",
        "",
        f"{HERE}{FENCES}::test_a_task_is_its_holders",
    ),
]

# Each file of_*.py beside this one has guards of its kind.
PARTS = [import_module(f"tests.guards.{path.stem}") for path in sorted(Path(__file__).parent.glob("of_*.py"))]
GUARDS: list[Guard] = [*OF_HOLDERS, *(guard for part in PARTS for guard in part.GUARDS)]

# Quick ones, of three kinds: fence, claim, bytes.
IN_EVERY_RUN = (
    "a write needs an open attempt",
    "devices in use are not given away",
    "what is downloaded has its sha256",
)
