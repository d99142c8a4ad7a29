"""Guards of what keeps a trainer that was taken over at its own job."""

from tests.guards.guard import Guard

BENEATH = "tests/unit/core/test_beneath.py"
PUBLISHER = "tests/integration/worker/test_publisher.py"
ISOLATION = "tests/integration/worker/test_isolation.py"

GUARDS = [
    Guard(
        "a manifest names what lies below its folder",
        "core/beneath.py",
        '    if any(part in ("", ".", "..") for part in name.split("/")):',
        "    if False:",
        f"{BENEATH}::test_no_manifest_and_no_event_names_what_lies_elsewhere",
    ),
    Guard(
        "a file behind a link is not read",
        "core/beneath.py",
        "os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK",
        "os.O_RDONLY | os.O_NONBLOCK",
        f"{BENEATH}::test_what_is_no_plain_file_of_the_folder_is_not_opened",
    ),
    Guard(
        "a folder behind a link is not gone into",
        "core/beneath.py",
        "FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW",
        "FOLDER = os.O_PATH | os.O_DIRECTORY",
        f"{PUBLISHER}::test_what_leads_out_of_the_workspace_is_neither_stored_nor_removed",
    ),
    Guard(
        "what is uploaded is opened below its folder",
        "core/objects/store.py",
        '(folder / entry.path).open("rb") if links else open_entry(folder, entry) as stream:',
        '(folder / entry.path).open("rb") as stream:',
        f"{PUBLISHER}::test_what_leads_out_of_the_workspace_is_neither_stored_nor_removed",
    ),
    Guard(
        "no process is ended because a trainer signed for it",
        "worker/workspace.py",
        "        return Path(process.folder()).is_relative_to(os.path.realpath(self.path))",
        "        return True",
        f"{BENEATH}::test_no_process_is_ended_because_a_trainer_signed_for_it",
    ),
    Guard(
        "a trainer enters its rules before its first line",
        "worker/launcher.py",
        "            preexec_fn=isolation.begin(rules),",
        "            preexec_fn=processes.die_with_parent,",
        f"{ISOLATION}::test_it_reaches_its_job_and_nothing_else[root]",
    ),
    Guard(
        "a Task's child enters its rules",
        "worker/child.py",
        "            preexec_fn=gives_way(isolation.begin(rules)),",
        "",
        f"{ISOLATION}::test_a_tasks_child_reads_what_it_was_given",
    ),
    Guard(
        "a trainer signals and calls nobody outside",
        "core/landlock.py",
        "ABSTRACT_SOCKETS | SIGNALS if version >= 6 else 0",
        "0",
        f"{ISOLATION}::test_it_reaches_its_job_and_nothing_else[root]",
    ),
    Guard(
        "a run of one rank connects to no port",
        "worker/isolation.py",
        "        connect=ephemeral() if ranks > 1 else (),",
        "        connect=range(65_536),",
        f"{ISOLATION}::test_it_reaches_its_job_and_nothing_else[root]",
    ),
    Guard(
        "who ends which process is not for a trainer to write",
        "worker/isolation.py",
        "write=[*(space.path / name for name in FILLED), space.events,",
        "write=[space.path,",
        f"{ISOLATION}::test_it_reaches_its_job_and_nothing_else[root]",
    ),
    Guard(
        "the warm trainer forks for the worker alone",
        "trainer/warm.py",
        "        return os.path.samestat(os.fstat(descriptor), lock) and not path_only",
        "        return True",
        "tests/unit/trainer/test_warm_asker.py::test_only_who_can_open_its_lock_may_ask",
    ),
    Guard(
        "a worker that is to isolate and cannot does not start",
        "worker/isolation.py",
        "    raise SystemExit(\n",
        "    return None\n    raise SystemExit(\n",
        f"{ISOLATION}::test_a_worker_that_is_to_isolate_and_cannot_does_not_start",
    ),
    Guard(
        "a worker's environment is closed to its own user",
        "core/landlock.py",
        "        _libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)",
        "        pass",
        "tests/unit/core/test_landlock.py::test_who_hides_shows_its_environment_to_nobody_of_its_user",
    ),
]
