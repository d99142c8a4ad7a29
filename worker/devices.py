"""The devices of this node: its GPUs by UUID, as far as they are shown to us; without any, as many CPUs as slots."""

import os
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from core import settings
from core.db import seats

ASK_SECONDS = 10.0
DEVICES = Path("/dev")


@dataclass(frozen=True)
class Gpu:
    """`memory`: bytes."""

    uuid: str
    name: str
    memory: int


class Unfit(Exception):
    """The settings name devices that this node has not; the message says which, and what to do."""


def names() -> list[str]:
    """One a slot, in the order in which they are given away. Raises Unfit."""
    asked, found = settings.worker().slots, [gpu.uuid for gpu in gpus()]
    if not found:
        return seats.cpus(asked or os.cpu_count() or 1)
    if asked > len(found):
        raise Unfit(
            f"PALATE_SLOTS is {asked}, and this node shows {len(found)} GPUs ({', '.join(found)}). Leave it out, and "
            "there is one slot a GPU; or show more of them (CUDA_VISIBLE_DEVICES)."
        )
    return found[: asked or len(found)]


@cache
def gpus() -> list[Gpu]:
    """Those that CUDA_VISIBLE_DEVICES names, in its order; all where it is not set. Raises Unfit."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None and named.strip() in ("", "-1"):
        return []
    found = listed()
    if not found and any(DEVICES.glob("nvidia[0-9]*")):
        raise Unfit(
            "This node has GPUs (/dev/nvidia0, ...), and nvidia-smi names none. Put the driver in order (a container "
            "wants NVIDIA_DRIVER_CAPABILITIES=compute,utility), or set CUDA_VISIBLE_DEVICES to nothing for the CPU."
        )
    if named is None or not found:
        return found
    chosen = []
    for word in filter(None, (part.strip() for part in named.split(","))):
        at = [number for number, gpu in enumerate(found) if word == str(number) or gpu.uuid.startswith(word)]
        if len(at) != 1 or found[at[0]] in chosen:
            raise Unfit(
                f"CUDA_VISIBLE_DEVICES is {named!r}, and {word!r} is not one GPU of this node, named once: it has "
                + ", ".join(f"{number} ({gpu.uuid})" for number, gpu in enumerate(found))
                + "."
            )
        chosen.append(found[at[0]])
    return chosen


def listed() -> list[Gpu]:
    """By the driver's own tool; none where it is not there or does not answer."""
    query = ["nvidia-smi", "--query-gpu=uuid,name,memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=ASK_SECONDS, check=True).stdout
        lines = [[word.strip() for word in line.split(",")] for line in told.split("\n") if line.strip()]
        return [Gpu(uuid, name, int(mebibytes) << 20) for uuid, name, mebibytes in lines]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


def require() -> None:
    """Ends a process that would give away devices that are not there."""
    try:
        names()
    except Unfit as error:
        raise SystemExit(str(error)) from error
