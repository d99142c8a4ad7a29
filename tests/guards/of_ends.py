"""Guards of ends: how often what is tried again, who dies with whom, how long anything may take."""

from tests.guards.guard import Guard

CLASSIFY, UNIT, HERE = "worker/classify.py", "tests/unit/", "tests/integration/"
FENCES, CLASSES = f"{HERE}test_fences.py", f"{UNIT}worker/test_classify.py"

GUARDS = [
    Guard(
        "infrastructure is tried again a bounded number of times",
        CLASSIFY,
        "FailureClass.INFRA: limit - 1",
        "FailureClass.INFRA: 10**9",
        f"{CLASSES}::test_a_killed_rank_is_infrastructure_while_there_is_progress",
    ),
    Guard(
        "a bug is tried again twice",
        CLASSIFY,
        "BUG_RETRIES = 2",
        "BUG_RETRIES = 10**9",
        f"{CLASSES}::test_what_nobody_explains_is_our_bug_and_ends_after_two_retries",
    ),
    Guard(
        "what the user has to mend is not tried again",
        CLASSIFY,
        ".get(failure, 0)",
        ".get(failure, 9)",
        f"{CLASSES}::test_a_failure_has_the_class_of_its_exit_code",
    ),
    Guard(
        "rows are halved three times",
        CLASSIFY,
        "again = halvings < MAX_HALVINGS",
        "again = True",
        f"{CLASSES}::test_a_gpu_out_of_memory_is_tried_with_smaller_rows_three_times",
    ),
    Guard(
        "finished needs the word and the exit code",
        CLASSIFY,
        "if isinstance(last, Finished) and launcher_code == 0:",
        "if isinstance(last, Finished):",
        f"{CLASSES}::test_finished_needs_the_word_and_the_exit_code",
    ),
    Guard(
        "lost attempts are tried again a bounded number of times",
        "worker/claim.py",
        "again = retries < settings.worker().infra_attempts - 1",
        "again = True",
        f"{FENCES}::test_five_losses_in_a_row_end_a_job_and_a_resume_point_begins_the_count_anew",
    ),
    Guard(
        "progress begins the count anew",
        "core/db/checkpoints.py",
        "    session.flush()\n    session.execute(update(Job).where(Job.id == job_id).values(retries=0))\n",
        "    session.flush()\n",
        f"{FENCES}::test_five_losses_in_a_row_end_a_job_and_a_resume_point_begins_the_count_anew",
    ),
    Guard(
        "progress of this very attempt begins the count anew",
        "worker/supervisor.py",
        "return 0 if self.publisher is not None and self.publisher.committed else self.lost_before",
        "return self.lost_before",
        f"{HERE}worker/test_attempts.py::test_losses_count_in_a_row_and_a_resume_point_ends_the_row",
    ),
    Guard(
        "a Task is lost three times at most",
        "core/db/tasks.py",
        "losses >= MAX_LOSSES or ",
        "",
        f"{FENCES}::test_a_task_that_is_lost_three_times_is_given_up",
    ),
    Guard(
        "a Task is claimed a bounded number of times",
        "core/db/tasks.py",
        "    counts = its_own or claim.epoch >= MAX_TRIES\n",
        "    counts = its_own\n",
        f"{HERE}worker/test_tasks.py::test_what_is_not_a_tasks_own_doing_does_not_count_but_has_a_bound",
    ),
    Guard(
        "a Task's child has a wall limit",
        "worker/child.py",
        "if waited > wall_seconds:",
        "if False:",
        f"{UNIT}worker/test_child.py::test_a_child_that_takes_too_long_is_ended",
    ),
    Guard(
        "a validator has a memory limit",
        "worker/validate.py",
        "    if asked.memory_bytes:",
        "    if False:",
        f"{UNIT}preferences/test_validate_child.py::test_memory_is_limited_by_the_child_itself",
    ),
    Guard(
        "a validator dies with its parent",
        "worker/validate.py",
        "    processes.die_with_parent(os.getppid())\n",
        "",
        f"{UNIT}preferences/test_validate_child.py::test_a_child_dies_with_its_parent",
    ),
    Guard(
        "a reused pid is not hit",
        "core/processes.py",
        "return started == self.start_time and state",
        "return state",
        f"{UNIT}core/test_processes.py::test_another_process_under_the_same_pid_is_not_hit",
    ),
    Guard(
        "who watches another ends with it",
        "core/processes.py",
        "            os._exit(ORPHANED)\n\n    threading",
        "            pass\n\n    threading",
        f"{UNIT}core/test_processes.py::test_who_watches_another_ends_with_it",
    ),
    Guard(
        "ranks die with their launcher",
        "trainer/rank.py",
        "    processes.die_with_parent(os.getppid())\n",
        "",
        f"{HERE}worker/test_warm.py::test_ranks_die_with_their_launcher",
    ),
    Guard(
        "a job has no more time than it asked for",
        "worker/deadline.py",
        "        if now < self._ends:\n",
        "        if True:\n",
        f"{HERE}worker/test_max_runtime.py::test_a_run_that_has_no_step_to_show_fails",
    ),
    Guard(
        "the bell waits for nobody",
        "core/queue.py",
        '"socket_timeout": PRODUCER_SECONDS,',
        '"socket_timeout": 5.0,',
        "tests/faults/test_queue_away.py::test_a_bell_that_cannot_ring_says_so_in_a_moment",
    ),
    Guard(
        "a job paused for a month ends, a younger one does not",
        "core/db/retention.py",
        "Job.state == JobState.PAUSED, last < func.now() - timedelta(days=days))",
        "Job.state == JobState.PAUSED)",
        f"{HERE}test_retention.py::test_a_job_paused_for_thirty_days_fails_and_leaves_no_resume_point",
    ),
    Guard(
        "what is trained is not paused any more",
        "core/db/jobs.py",
        "if job.phase in ENDING and",
        "if False and",
        f"{HERE}test_verbs.py::test_a_trained_job_that_writes_its_model_is_not_paused",
    ),
]
