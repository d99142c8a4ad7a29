"""Guards between projects: none takes what another waits for, and none learns what another has."""

from tests.guards.guard import Guard

PLACES, TASKS, SHARES = "api/places.py", "core/db/tasks.py", "tests/integration/test_shares.py"
QUEUE, OF_PLACES = "tests/integration/test_queue.py", "tests/unit/api/test_places.py"

GUARDS = [
    Guard(
        "a project holds half of the places at most",
        PLACES,
        "held >= self.most or ",
        "",
        f"{OF_PLACES}::test_a_project_holds_half_and_others_get_theirs",
    ),
    Guard(
        "a project that holds no place gets one",
        PLACES,
        "if held and (",
        "if (",
        f"{OF_PLACES}::test_who_has_none_always_gets_one",
    ),
    Guard(
        "who waits takes a place of his own project",
        "api/waiting.py",
        "self._places.one_if_any(project_id)",
        'self._places.one_if_any("")',
        f"{OF_PLACES}::test_a_crowd_of_one_project_lets_another_wait",
    ),
    Guard(
        "a slow body is refused",
        "api/body.py",
        "LEAST_BYTES_PER_SECOND * waited:",
        "1024:",
        "tests/unit/api/test_slow_bodies.py::test_less_than_the_least_rate_is_refused",
    ),
    Guard(
        "a slow store is not taken for a slow body",
        "api/body.py",
        "        began = time.monotonic()\n        try:\n",
        "        began = time.monotonic() - 1\n        try:\n",
        "tests/unit/api/test_slow_bodies.py::test_a_slow_store_is_not_the_senders_doing",
    ),
    Guard(
        "priority counts inside a project only",
        "core/db/turns.py",
        "ORDER BY running.jobs, first.created_at, first.id",
        "ORDER BY first.priority DESC, running.jobs, first.created_at, first.id",
        f"{QUEUE}::test_priority_counts_inside_a_project_only",
    ),
    Guard(
        "a position counts the own project",
        "core/db/standings.py",
        "(other.project_id == Job.project_id) & (other.state == IN_LINE)",
        "other.state == IN_LINE",
        f"{QUEUE}::test_a_position_counts_the_own_project_alone",
    ),
    Guard(
        "the places of a page count the own project",
        "core/db/standings.py",
        "partition_by=Job.project_id, ",
        "",
        f"{QUEUE}::test_a_position_counts_the_own_project_alone",
    ),
    Guard(
        "a project leaves one Task slot to others",
        TASKS,
        '"share": max(1, slots - 1)',
        '"share": slots',
        f"{SHARES}::test_a_project_leaves_one_slot_of_a_node_to_others",
    ),
    Guard(
        "who is alone has all Task slots",
        TASKS,
        " OR whose.projects = 1",
        "",
        f"{SHARES}::test_who_is_alone_has_all_slots",
    ),
    Guard(
        "projects take turns at a Task slot",
        TASKS,
        "ORDER BY running.everywhere, served.at NULLS FIRST, first.number",
        "ORDER BY running.everywhere, first.number",
        f"{SHARES}::test_of_one_slot_projects_take_turns",
    ),
    Guard(
        "who runs fewest Tasks goes first",
        TASKS,
        "ORDER BY running.everywhere, served.at",
        "ORDER BY served.at",
        f"{SHARES}::test_who_runs_fewest_tasks_on_all_nodes_goes_first",
    ),
    Guard(
        "an inspection is its project's",
        "core/db/admission.py",
        '    if payload.get("project"):  # older ones have none\n',
        "    if False:\n",
        f"{SHARES}::test_the_same_data_of_another_project_is_inspected_anew",
    ),
    Guard(
        "what a Task runs gives way",
        "worker/child.py",
        "        os.nice(NICE)\n",
        "",
        "tests/unit/worker/test_child.py::test_a_child_gives_way_to_all_others",
    ),
    Guard(
        "checks that take too long are a verdict",
        "worker/validate_task.py",
        "    except child.TookTooLong as failure:",
        "    except ZeroDivisionError as failure:",
        "tests/integration/worker/test_tasks.py::test_checks_that_take_too_long_are_a_verdict",
    ),
    Guard(
        "a report keeps few of its bad lines",
        "core/db/bad_lines.py",
        "found[:IN_REPORT]} if rows",
        "found} if rows",
        "tests/integration/api/test_reports.py::test_bad_lines_are_read_by_page",
    ),
]
