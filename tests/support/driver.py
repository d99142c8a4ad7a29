"""A nvidia-smi that says what a test wants: it shows which devices are given away, and nothing of any GPU."""

from pathlib import Path

FOUR = """cat <<END
GPU-a0, NVIDIA A100, 40960
GPU-a1, NVIDIA A100, 40960
GPU-b2, NVIDIA H100, 81559
GPU-b3, NVIDIA H100, 81559
END"""


def put_driver(folder: Path, script: str) -> Path:
    """The folder to put in front of PATH."""
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    return folder
