"""What the launcher tells a rank of its place."""

from trainer.launch import place


def test_a_rank_is_told_its_place_and_the_one_interface() -> None:
    """NCCL takes a name without `=` for the beginning of one."""
    assert place(1, 2, 4_321) == {
        "RANK": "1",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "=lo",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "4321",
    }
