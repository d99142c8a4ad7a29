"""What a node says of itself: the driver's tool is real wherever it answers, here one that is put in its place."""

import os
from pathlib import Path

import pytest

from worker import node_facts


def driver(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_the_smallest_gpu_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(tmp_path, monkeypatch, "echo 'NVIDIA H100 80GB HBM3, 81559'; echo 'NVIDIA A100, 40960'")
    assert node_facts.nvidia() == ("NVIDIA A100", 40960 << 20)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert node_facts.nvidia() is None


@pytest.mark.parametrize("script", ["exit 9", "echo 'No devices were found'", "true"])
def test_a_driver_without_a_gpu(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(tmp_path, monkeypatch, script)
    assert node_facts.nvidia() is None


def test_the_machines_memory() -> None:
    assert 1 << 28 < node_facts.memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
