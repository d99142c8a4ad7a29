"""A node that looks as if it had GPUs: files in the place of /dev, and libraries in the place of NVIDIA's.

What they cannot show: whether a real driver behaves as they do (nvml.c, cuda.c say where they may differ), and what the
modules of a CUDA wheel ask when they are imported, for the wheel here is most often the CPU's: of those only the
questions that go through torch.cuda are seen.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
LIBRARIES = {"nvml.c": "libnvidia-ml.so.1", "cuda.c": "libcuda.so.1"}
DEVICES = "PALATE_FAKE_DEVICES"


def libraries(folder: Path) -> Path:
    """Compiles them into a folder."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("the fakes of NVIDIA's libraries are compiled here, and this machine has no C compiler")
    for source, name in LIBRARIES.items():
        flags = ["-shared", "-fPIC", "-Wall", "-Werror", f"-Wl,-soname,{name}"]
        subprocess.run([compiler, *flags, "-o", str(folder / name), str(FOLDER / source)], check=True)
    return folder


def environment(libraries: Path, devices: Path) -> dict[str, str]:
    """Of a process on such a node; makes the node's files."""
    for name in ("nvidiactl", "nvidia0", "nvidia1"):
        (devices / name).touch()
    (devices / "asked").touch()
    path = ":".join(filter(None, (str(libraries), os.environ.get("LD_LIBRARY_PATH"))))
    kept = {name: value for name, value in os.environ.items() if name not in ("CUDA_VISIBLE_DEVICES", "DS_ACCELERATOR")}
    return {**kept, "LD_LIBRARY_PATH": path, DEVICES: str(devices)}
