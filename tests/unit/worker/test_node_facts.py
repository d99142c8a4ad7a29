"""What a node says of itself: its memory, and of GPUs the smallest."""

import os

import pytest

from worker import devices, node_facts
from worker.devices import Gpu


def test_the_smallest_gpu_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    two = [Gpu("GPU-1", "NVIDIA H100 80GB HBM3", 81_559 << 20), Gpu("GPU-2", "NVIDIA A100", 40_960 << 20)]
    monkeypatch.setattr(devices, "gpus", lambda: two)
    found = node_facts.facts.__wrapped__()
    assert (found.device, found.device_name, found.memory_bytes, found.slots) == ("cuda", "NVIDIA A100", 40960 << 20, 2)


def test_the_machines_memory() -> None:
    assert 1 << 28 < node_facts.memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
