"""Guards of claims: who gets the next job, on which node, and when none does."""

from tests.guards.guard import Guard

ATTEMPTS, TURNS, CLAIM = "core/db/attempts.py", "core/db/turns.py", "worker/claim.py"
DATABASE, QUEUE, FENCES, SEATS = "test_database.py", "test_queue.py", "test_fences.py", "test_seats.py"
HERE = "tests/integration/"

GUARDS = [
    Guard(
        "claims skip what another claims (SKIP LOCKED)",
        TURNS,
        "FOR UPDATE SKIP LOCKED",
        "FOR UPDATE",
        f"{HERE}{DATABASE}::test_two_nodes_claim_at_once_without_waiting",
    ),
    Guard(
        "a node's slots are counted under its lock",
        ATTEMPTS,
        "AND NOT draining FOR UPDATE",
        "AND NOT draining",
        f"{HERE}{DATABASE}::test_one_node_does_not_claim_twice_at_once",
    ),
    Guard(
        "devices in use are not given away",
        TURNS,
        "WHERE s.node = n.name AND s.device = each.device) AS free",
        "WHERE false) AS free",
        f"{HERE}{SEATS}::test_two_jobs_of_two_devices_are_disjoint",
    ),
    Guard(
        "no device has two seats, whatever a claim believes (the net)",
        "migrations/versions/0008_seats.py",
        'sa.PrimaryKeyConstraint("node", "device", name=op.f("pk_seat_devices")),',
        'sa.PrimaryKeyConstraint("node", "device", "job_id", name=op.f("pk_seat_devices")),',
        f"{HERE}{SEATS}::test_the_net_in_the_database",
    ),
    Guard(
        "a seat outlives the attempt that another took over",
        ATTEMPTS,
        "return close(session, lease, ending, seats_end=False)",
        "return close(session, lease, ending)",
        f"{HERE}{SEATS}::test_a_seat_outlives_its_attempt_until_its_node_ends_it",
    ),
    Guard(
        "devices of ranks that will not die stay in use",
        CLAIM,
        "            left.discard((job_id, epoch))\n",
        "",
        "tests/faults/test_zombie.py::test_slots_of_ranks_that_do_not_die_are_not_given_away",
    ),
    Guard(
        "a seat whose attempt is open ends for no silence",
        "core/db/seats.py",
        "where(Seat.ended_at.is_(None), closed, ~heard)",
        "where(Seat.ended_at.is_(None), ~heard)",
        f"{HERE}{SEATS}::test_the_seats_of_a_silent_node_are_ended_for_it",
    ),
    Guard(
        "a node that was heard of ends its seats itself",
        "core/db/seats.py",
        "closed, ~heard)",
        "closed)",
        f"{HERE}{SEATS}::test_the_seats_of_a_silent_node_are_ended_for_it",
    ),
    Guard(
        "a run sees the devices of its seat alone",
        "worker/launcher.py",
        "        **shown,\n",
        "",
        f"{HERE}worker/test_devices.py::test_two_jobs_have_devices_of_their_own",
    ),
    Guard(
        "a full node passes the bell on",
        "worker/celery_app.py",
        "if hops < HOPS and claim.elsewhere():",
        "if False:",
        f"{HERE}worker/test_nodes.py::test_a_full_node_passes_the_bell_on",
    ),
    Guard(
        "a bell is not passed on for ever",
        "worker/celery_app.py",
        "if hops < HOPS and claim",
        "if claim",
        f"{HERE}worker/test_nodes.py::test_a_bell_is_not_passed_on_for_ever",
    ),
    Guard(
        "a postponed job waits",
        TURNS,
        "AND j.run_after <= now() AND",
        "AND",
        f"{HERE}{QUEUE}::test_a_postponed_job_says_that_it_backs_off",
    ),
    Guard(
        "a drained node claims nothing",
        ATTEMPTS,
        "WHERE name = :node AND NOT draining",
        "WHERE name = :node",
        f"{HERE}{QUEUE}::test_a_drained_node_claims_nothing",
    ),
    Guard(
        "a long waiting job lets none pass",
        TURNS,
        "OR j.run_after < now() - make_interval(secs => :head_seconds))",
        "AND :head_seconds >= 0)",
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
        "the project that runs least goes first",
        TURNS,
        "ORDER BY running.jobs, first.created_at",
        "ORDER BY first.created_at",
        f"{HERE}{QUEUE}::test_the_project_that_runs_least_goes_first",
    ),
    Guard(
        "a job that could not start anywhere holds nobody back",
        TURNS,
        "AND j.ranks <= (SELECT slots FROM room)\n",
        "\n",
        f"{HERE}{QUEUE}::test_a_large_job_holds_back_no_node_that_it_could_never_use",
    ),
    Guard(
        "a drained node takes no Task",
        "core/db/tasks.py",
        "Node.name == node, ~Node.draining)",
        "Node.name == node)",
        f"{HERE}{FENCES}::test_a_node_that_is_drained_takes_no_task",
    ),
    Guard(
        "while the database is away no node is blamed",
        CLAIM,
        "silent = reachable and attempts",
        "silent = attempts",
        f"{HERE}{QUEUE}::test_a_job_under_which_two_nodes_fell_silent_is_quarantined",
    ),
]
