"""Guards of bytes: nothing half-made, damaged or another's is listed, read, trained on or unpickled."""

from tests.guards.guard import Guard

UNIT, HERE, REFUSED = "tests/unit/", "tests/integration/", "tests/trajectory/test_refused.py"
FENCES = f"{HERE}test_fences.py"

GUARDS = [
    Guard(
        "a base model is verified before it is used",
        "core/objects/store.py",
        "sha256=entry.sha256, bytes=entry.bytes, progress=progress",
        "progress=progress",
        f"{FENCES}::test_a_folder_that_was_changed_in_the_store_does_not_come_down",
    ),
    Guard(
        "canonical data has its digest",
        "worker/cache.py",
        "        if found != digest:\n",
        "        if False:\n",
        f"{FENCES}::test_canonical_data_that_was_changed_in_the_store_is_not_trained_on",
    ),
    Guard(
        "a download has its size",
        "core/objects/store.py",
        "if bytes is not None and total != bytes:",
        "if False:",
        f"{HERE}test_objects.py::test_a_download_appears_whole_and_right_or_not_at_all",
    ),
    Guard(
        "a stream that breaks off leaves nothing",
        "core/objects/store.py",
        "                    self.abort_multipart(key, upload)\n            raise",
        "                    self.complete_multipart(key, upload, tags)\n            raise",
        f"{HERE}test_objects.py::test_a_stream_that_breaks_off_leaves_nothing",
    ),
    Guard(
        "a folder is deleted by its whole name",
        "core/objects/store.py",
        """if not prefix.endswith("/") or prefix == "/":""",
        "if False:",
        f"{HERE}test_objects.py::test_only_a_folder_is_deleted_by_prefix",
    ),
    Guard(
        "a manifest's files have their sha256",
        "core/contract/manifest.py",
        "if sha256_stream(stream) != entry.sha256:",
        "if False:",
        f"{UNIT}core/test_contract.py::test_a_damaged_folder_does_not_verify",
    ),
    Guard(
        "a resume point is the one that Postgres names",
        "trainer/checkpoint.py",
        "if found.digest() != source.manifest_digest:",
        "if False:",
        f"{REFUSED}::test_a_resume_point_of_another_run_or_damaged",
    ),
    Guard(
        "a resume point is verified before it is unpickled",
        "trainer/checkpoint.py",
        "        manifest.verify(source.path, found.model_copy",
        "        (lambda *_: None)(source.path, found.model_copy",
        f"{REFUSED}::test_a_resume_point_with_one_flipped_byte",
    ),
    Guard(
        "a run goes on only as the run that it was",
        "trainer/checkpoint.py",
        "    if other:\n",
        "    if False:\n",
        f"{REFUSED}::test_a_resume_point_of_another_run_or_damaged",
    ),
    Guard(
        "a shard is scanned before it is read",
        "trainer/shards.py",
        "    if foreign:\n",
        "    if False:\n",
        f"{UNIT}trainer/test_shards.py::test_a_shard_that_would_run_something_is_refused_unread",
    ),
    Guard(
        "DeepSpeed unpickles nothing else either",
        "trainer/shards.py",
        """    os.environ[FORCED] = "1"\n""",
        """    os.environ[FORCED] = "0"\n""",
        f"{UNIT}trainer/test_shards.py::test_a_shard_that_would_run_something_is_refused_unread",
    ),
    Guard(
        "a folder is sealed when all ranks have written",
        "trainer/seal.py",
        "        while not part.exists():\n",
        "        while False:\n",
        f"{UNIT}trainer/test_seal.py::test_a_part_that_never_comes_is_an_error",
    ),
    Guard(
        "who gave up seals nothing",
        "trainer/seal.py",
        "    if entries is None:\n",
        "    if False:\n",
        f"{UNIT}trainer/test_seal.py::test_who_gave_up_seals_nothing",
    ),
    Guard(
        "a run that diverges stops before the update",
        "trainer/loop.py",
        """if not (math.isfinite(means["loss"]) and math.isfinite(gradient)):""",
        "if False:",
        f"{REFUSED}::test_a_run_that_diverges_stops_before_the_update",
    ),
    Guard(
        "a policy that is not its reference does not begin",
        "trainer/gate.py",
        "        same_reference(all_of(world, self.h), self.course.noise, int(examples))\n",
        "",
        f"{REFUSED}::test_a_policy_that_is_not_the_reference_before_the_first_step",
    ),
    Guard(
        "what failed is not in the cache",
        "worker/cache.py",
        "            finally:\n                remove(partial)\n    return path",
        "            finally:\n                partial.exists() and partial.rename(path)\n    return path",
        f"{UNIT}worker/test_cache.py::test_what_failed_is_not_there_and_leaves_nothing",
    ),
    Guard(
        "what a process uses is not deleted",
        "worker/cache.py",
        "            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "",
        f"{UNIT}worker/test_cache.py::test_what_another_process_uses_stays",
    ),
    Guard(
        "one process at a time makes an entry",
        "worker/cache.py",
        "    with locked(path):\n",
        "    with suppress():\n",
        f"{UNIT}worker/test_cache.py::test_many_at_once_make_it_once",
    ),
    Guard(
        "objects go with the last model that shows them",
        "core/db/models.py",
        "    if not others:\n",
        "    if True:\n",
        f"{FENCES}::test_objects_that_another_model_shows_stay",
    ),
    Guard(
        "the trainer is told no secret",
        "worker/launcher.py",
        "if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)",
        "if name",
        f"{UNIT}worker/test_launcher.py::test_the_trainer_is_told_no_secret",
    ),
]
