"""What is here: `python -m tests.gpu.check.facts` prints it as JSON. In a process of its own, which opens the GPUs."""

import json
import os
from importlib import metadata
from typing import Any

LIBRARIES = ("torch", "triton", "transformers", "deepspeed", "peft", "trl")


def found() -> dict[str, Any]:
    """`devices`: (name, bytes) of each GPU; `why`: what torch says where there is none."""
    import torch

    devices, why = [], ""
    try:
        for number in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(number)
            devices.append((about.name, about.total_memory))
        if devices:
            torch.ones(1, device="cuda").add_(1).item()
    except (RuntimeError, AssertionError) as error:
        devices, why = [], str(error).splitlines()[0]
    if not devices and not why:
        built = torch.version.cuda
        why = "it finds no CUDA device" if built else "it is a build for the CPU"
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "none"
    return {
        "devices": devices,
        "why": f"torch {torch.__version__}: {why}" if why else "",
        "versions": versions | {"CUDA of torch": str(torch.version.cuda)},
        "nccl": ".".join(map(str, torch.cuda.nccl.version())) if devices else "",  # type: ignore[no-untyped-call]
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


if __name__ == "__main__":
    print(json.dumps(found()))
