"""What a GPU, and what stands around it, says when it fails: the words of CUDA, cuBLAS, NCCL, Triton and the loader.

They come as many types (RuntimeError, torch.AcceleratorError, DistBackendError, ImportError, CalledProcessError), so
the words decide. Sources: cudaGetErrorString and its texts in CUDA's runtime API; torch/csrc/cuda, c10/cuda; NCCL's
checks.h and shm.cc; Triton's build.py and driver.c.
"""

import os
import re
from dataclasses import dataclass

from core.contract.exits import Exit


@dataclass(frozen=True)
class Words:
    """`code` and `message` of the verdict; `{gpu}` in it is this rank's GPU."""

    pattern: re.Pattern[str]
    exit: Exit
    code: str
    message: str


def words(exit_code: Exit, code: str, message: str, *patterns: str) -> Words:
    return Words(re.compile("|".join(patterns), re.IGNORECASE), exit_code, code, message)


OUT_OF_MEMORY = "out_of_gpu_memory"
# The first that is found counts.
KNOWN = [
    words(
        Exit.OUT_OF_GPU_MEMORY,
        OUT_OF_MEMORY,
        "",
        r"CUDA (driver )?error: out of memory",
        r"CU(BLAS|DNN|SOLVER)_STATUS_ALLOC_FAILED",
        r"Triton Error \[CUDA\]: out of memory",
        r"Cuda failure (\d+ )?'out of memory'",
    ),
    words(
        Exit.INFRASTRUCTURE,
        "shared_memory_full",
        "The node's /dev/shm is full, which NCCL wants for its ranks. Make it larger (of a container: --shm-size=1g).",
        r"/dev/shm.*(No space left|not enough space)",
        r"(No space left|Error while creating shared memory segment).*/dev/shm",
    ),
    words(
        Exit.INFRASTRUCTURE,
        "gpu_error",
        "{gpu} of the node failed ({found}): the fault is the machine's. It is tried again; two such faults within an "
        "hour, and the device is given to no job until the hour is over.",
        r"uncorrectable (NVLink|ECC) error[a-z ]*",
        r"unspecified launch failure",
        r"an illegal memory access was encountered",
        r"an illegal instruction was encountered",
        r"Invalid access of peer GPU memory over nvlink[a-z ]*",
        r"GPU is lost|fallen off the bus",
        r"the launch timed out and was terminated",
    ),
    words(
        Exit.INFRASTRUCTURE,
        "gpu_unavailable",
        "CUDA does not come up on this node ({found}). Compare its driver with the CUDA of the installed torch, and "
        "what the worker is shown of it (nvidia-smi, /dev/nvidia-uvm, CUDA_VISIBLE_DEVICES).",
        r"NVIDIA driver on your system is too old[^.]*",
        r"Found no NVIDIA driver on your system",
        r"CUDA driver version is insufficient for CUDA runtime version",
        r"No CUDA GPUs are available",
        r"no CUDA-capable device is detected",
        r"CUDA-capable device\(s\) is/are busy or unavailable",
        r"invalid device ordinal",
        r"forward compatibility was attempted on non supported HW",
        r"CUDA unknown error",
        r"no kernel image is available for execution on the device",
        r"system not yet initialized|system has unsupported display driver / cuda driver combination",
    ),
    words(
        Exit.INFRASTRUCTURE,
        "no_compiler",
        "This node has no C compiler, or not Python's header files ({found}); the kernels of a GPU are compiled when a "
        "run begins. Install gcc and python3-dev.",
        r"Failed to find C compiler",
        r"No working C\+\+ compiler found",
        r"Python\.h: No such file or directory",
        r"cuda_utils\.c\b",
    ),
    words(
        Exit.INFRASTRUCTURE,
        "noexec_scratch",
        "What was compiled cannot be loaded from the scratch folder: it lies on a file system that is mounted noexec. "
        "Put PALATE_SCRATCH on another, or mount it exec.",
        r"failed to map segment from shared object",
    ),
]


def known(text: str) -> tuple[Words, str] | None:
    """The entry, and its words as they were found."""
    for each in KNOWN:
        if found := each.pattern.search(text):
            return each, " ".join(found.group(0).split())
    return None


def mine() -> str | None:
    """This rank's GPU, by the name under which it was given away; None where it has none, or sees all."""
    shown = [word for word in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if word.strip()]
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    return shown[rank].strip() if rank < len(shown) else None
