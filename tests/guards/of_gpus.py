"""Guards of what differs on GPUs, as far as a machine without one can tell."""

from tests.guards.guard import Guard

GUARDS = [
    Guard(
        "ranks meet on loopback alone",
        "trainer/launch.py",
        '{"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "=lo"}',
        "{}",
        "tests/unit/trainer/test_launch.py::test_a_rank_is_told_its_place_and_the_one_interface",
    ),
    Guard(
        "a job keeps the precision of its first attempt",
        "worker/prepare.py",
        '(job.resolved or {}).get("precision") or resolved.precision',
        "resolved.precision",
        "tests/integration/worker/test_devices.py::test_a_job_keeps_the_precision_of_its_first_attempt",
    ),
    Guard(
        "ranks agree whether their attention was compiled",
        "trainer/compiles.py",
        "world.agree(tried(world.device))",
        "tried(world.device)",
        "tests/trajectory/test_refused.py::test_a_compiler_that_fails_on_one_rank_ends_all",
    ),
    Guard(
        "who verifies says so",
        "trainer/verify_alone.py",
        "emitter.phase(Phase.VERIFYING, looks, 0)",
        "pass",
        "tests/unit/trainer/test_verify_rows.py::test_who_verifies_says_so_between_files_and_forwards",
    ),
    Guard(
        "each use of FlexAttention is compiled by itself",
        "trainer/flex.py",
        'copied(flex_attention, f"flex_{window}_{softcap}_{graph}")',
        "flex_attention",
        "tests/unit/trainer/test_flex.py::test_layers_with_and_without_a_window_stay_compiled",
    ),
]
