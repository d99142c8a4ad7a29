"""Guards against what data, models and services may hold: it has an end, and nothing of it is obeyed."""

from tests.guards.guard import Guard

TURNS = "tests/unit/trainer/test_many_turns.py::"
FOLDERS = "tests/unit/planning/test_hostile_folders.py::"
TERMINAL = "tests/unit/cli/test_terminal.py::"

GUARDS = [
    Guard(
        "the turns of an answer have an end",
        "trainer/unfit.py",
        "    if turns > MOST_TURNS:\n",
        "    if False:\n",
        f"{TURNS}test_the_most_turns_are_trained_on",
    ),
    Guard(
        "what is left of a prompt is found in few steps",
        "trainer/data.py",
        "            least, step = at, 2 * step\n",
        "            least, step = at, step\n",
        f"{TURNS}test_a_prompt_of_thousands_of_turns",
    ),
    Guard(
        "what a template writes has an end",
        "trainer/template.py",
        "        if len(rendered) > LONGEST:\n",
        "        if False:\n",
        f"{TURNS}test_a_rendering_has_an_end",
    ),
    Guard(
        "an inspection out of memory is a verdict",
        "worker/inspect.py",
        "        if failure.last_line.startswith(OUT_OF_MEMORY):\n",
        "        if False:\n",
        f"{TURNS}test_memory_that_is_over_is_a_verdict",
    ),
    Guard(
        "Parquet is held to a ratio",
        "preferences/container.py",
        "    rows = capped(file, lambda: max(read.read, in_place(source)), limits)\n",
        "    rows = file\n",
        "tests/unit/preferences/test_tables.py::test_a_parquet_bomb_is_held_to_the_ratio_of_gzip",
    ),
    Guard(
        "a column's name has an end",
        "preferences/mapping.py",
        " > LONGEST:\n",
        " > 1 << 40:\n",
        "tests/unit/preferences/test_mapping.py::test_a_name_of_a_column_has_an_end",
    ),
    Guard(
        "the numbers of a configuration have an end",
        "planning/model_folder.py",
        '        found.faults += [(CONFIG, bad) for bad in sizes.faults(folder / "config.json", config)]\n',
        "",
        f"{FOLDERS}test_numbers_that_no_model_has",
    ),
    Guard(
        "a header's tensors are counted before they are read",
        "planning/tensors.py",
        "> TENSORS:\n",
        "> 1 << 40:\n",
        f"{FOLDERS}test_a_header_of_more_tensors_than_a_model_has",
    ),
    Guard(
        "a tensor's name is printable",
        "planning/tensors.py",
        "    if not name.isprintable() or len(name) > NAME:\n",
        "    if False:\n",
        f"{FOLDERS}test_a_name_of_a_tensor_reaches_nobody_unread",
    ),
    Guard(
        "settings that load something else are left out",
        "planning/model_folder.py",
        "        if any(mentions(settings, key) for key in FOREIGN):\n",
        "        if False:\n",
        f"{FOLDERS}test_what_would_load_something_else_is_left_out",
    ),
    Guard(
        "a link that comes after the look is refused",
        "planning/model_folder.py",
        "        if not real.is_relative_to(folder.resolve())",
        "        if False",
        f"{FOLDERS}test_a_link_that_comes_after_the_look_is_refused",
    ),
    Guard(
        "a file that was away for a while is told",
        "planning/at_rest.py",
        "seen.st_ctime_ns, ",
        "",
        f"{FOLDERS}test_a_file_that_was_another_for_a_while_is_told",
    ),
    Guard(
        "an adapter is not laid over a model",
        "trainer/model.py",
        "    if (folder / ADAPTER).exists():\n",
        "    if False:\n",
        "tests/unit/trainer/test_model.py::test_an_adapter_beside_the_weights_is_not_laid_over_them",
    ),
    Guard(
        "a folder chooses no kernel",
        "trainer/folder.py",
        "        found._attn_implementation = found._experts_implementation = None\n",
        "",
        "tests/unit/trainer/test_model.py::test_a_kernel_that_a_folder_names_is_not_looked_for",
    ),
    Guard(
        "a service's answers are cleaned",
        "cli/service.py",
        " = cleaned(self.raw(path, **query))\n",
        " = self.raw(path, **query)\n",
        f"{TERMINAL}test_names_and_errors_of_a_job",
    ),
    Guard(
        "pull writes no name that is hidden or shows as another",
        "cli/pull.py",
        "    if not entry.path.isprintable() or any(part",
        "    if any(False and part",
        f"{TERMINAL}test_a_name_that_is_no_models_is_not_written",
    ),
    Guard(
        "pull takes no more bytes than the manifest says",
        "cli/pull.py",
        "    if size != entry.bytes:\n",
        "    if False:\n",
        f"{TERMINAL}test_the_bytes_of_a_manifest_are_kept_to",
    ),
    Guard(
        "a file's name shows as what it is",
        "api/form.py",
        "if each.isprintable())",
        ")",
        "tests/unit/api/test_form.py::test_a_name_shows_as_what_it_is",
    ),
]
