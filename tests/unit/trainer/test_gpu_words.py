"""What GPUs, NCCL and compilers really say, word by word, and whose fault it is: shown without any GPU."""

import subprocess

import pytest
import torch

from core.contract.exits import Exit
from trainer.failures import judge

ASYNCHRONOUS = (
    "\nCUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be "
    "incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
)
NCCL = (
    "NCCL error in: torch/csrc/distributed/c10d/NCCLUtils.cpp:94, unhandled cuda error (run with NCCL_DEBUG=INFO for "
    "details), NCCL version 2.27.5\nncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\n"
)
SYSTEM = (
    "NCCL error in: torch/csrc/distributed/c10d/NCCLUtils.cpp:94, unhandled system error (run with NCCL_DEBUG=INFO), "
    "NCCL version 2.27.5\nncclSystemError: System call (e.g. socket, malloc) or external library call failed or "
    "device error.\nLast error:\n"
)
Backend = torch.distributed.DistBackendError
Accelerator = torch.AcceleratorError
OUT, INFRA, BUG = Exit.OUT_OF_GPU_MEMORY, Exit.INFRASTRUCTURE, Exit.BUG


@pytest.mark.parametrize(
    ("error", "exit_code", "code"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), OUT, "out_of_gpu_memory"),
        (Accelerator("CUDA error: out of memory" + ASYNCHRONOUS), OUT, "out_of_gpu_memory"),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
            OUT,
            "out_of_gpu_memory",
        ),
        (RuntimeError("CUDA driver error: out of memory"), OUT, "out_of_gpu_memory"),
        (RuntimeError("Triton Error [CUDA]: out of memory"), OUT, "out_of_gpu_memory"),
        (Backend(NCCL + "Cuda failure 2 'out of memory'"), OUT, "out_of_gpu_memory"),
        (Backend(NCCL + "Cuda failure 'out of memory'"), OUT, "out_of_gpu_memory"),
        (Accelerator("CUDA error: uncorrectable ECC error encountered" + ASYNCHRONOUS), INFRA, "gpu_error"),
        (Accelerator("CUDA error: unspecified launch failure" + ASYNCHRONOUS), INFRA, "gpu_error"),
        (Accelerator("CUDA error: an illegal memory access was encountered" + ASYNCHRONOUS), INFRA, "gpu_error"),
        (
            Accelerator("CUDA error: Invalid access of peer GPU memory over nvlink or a hardware error"),
            INFRA,
            "gpu_error",
        ),
        (Backend(NCCL + "Cuda failure 214 'uncorrectable ECC error encountered'"), INFRA, "gpu_error"),
        (Accelerator("CUDA error: uncorrectable NVLink error detected during the execution"), INFRA, "gpu_error"),
        (RuntimeError("Unable to determine the device handle for GPU0: GPU is lost."), INFRA, "gpu_error"),
        (Accelerator("CUDA error: invalid device ordinal" + ASYNCHRONOUS), INFRA, "gpu_unavailable"),
        (RuntimeError("No CUDA GPUs are available"), INFRA, "gpu_unavailable"),
        (
            RuntimeError("The NVIDIA driver on your system is too old (found version 11040). Please update"),
            INFRA,
            "gpu_unavailable",
        ),
        (
            RuntimeError("CUDA unknown error - this may be due to an incorrectly set up environment"),
            INFRA,
            "gpu_unavailable",
        ),
        (Accelerator("CUDA error: no kernel image is available for execution on the device"), INFRA, "gpu_unavailable"),
        (
            Accelerator("CUDA error: CUDA-capable device(s) is/are busy or unavailable" + ASYNCHRONOUS),
            INFRA,
            "gpu_unavailable",
        ),
        (
            Backend(SYSTEM + "Error while creating shared memory segment /dev/shm/nccl-Xb3Ld2 (size 9637888)"),
            INFRA,
            "shared_memory_full",
        ),
        (
            Backend(SYSTEM + "Call to posix_fallocate failed: No space left on device (28), file /dev/shm/nccl-a"),
            INFRA,
            "shared_memory_full",
        ),
        (
            RuntimeError("Failed to find C compiler. Please specify via CC environment variable."),
            INFRA,
            "no_compiler",
        ),
        (
            subprocess.CalledProcessError(1, ["gcc", "cuda_utils.c", "-O3", "-shared"]),
            INFRA,
            "no_compiler",
        ),
        (
            ImportError("/scratch/x/cuda_utils.so: failed to map segment from shared object"),
            INFRA,
            "noexec_scratch",
        ),
        (Backend(SYSTEM + "socketProgress: Connection closed by remote peer"), INFRA, "lost_peer"),
        (Accelerator("CUDA error: device-side assert triggered" + ASYNCHRONOUS), BUG, "internal_error"),
        (OSError(28, "No space left on device", "/scratch/model"), INFRA, "no_space"),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, Exception) else "",
)
def test_whose_fault_it_is(error: Exception, exit_code: Exit, code: str) -> None:
    verdict = judge(error)
    assert (verdict.exit, verdict.code) == (exit_code, code)


def test_the_gpu_is_named_as_it_was_given_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a0,GPU-b1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    verdict = judge(Accelerator("CUDA error: uncorrectable ECC error encountered" + ASYNCHRONOUS))
    assert verdict.device == "GPU-b1"
    assert verdict.message.startswith("GPU GPU-b1 of the node failed (uncorrectable ECC error encountered): ")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    nobody = judge(Accelerator("CUDA error: uncorrectable ECC error encountered"))
    assert (nobody.device, nobody.message[:6]) == (None, "A GPU ")


def test_each_says_what_was_found_and_what_to_do() -> None:
    old = judge(RuntimeError("The NVIDIA driver on your system is too old (found version 11040). Please update"))
    assert "(NVIDIA driver on your system is too old (found version 11040))" in old.message
    assert "Compare its driver with the CUDA of the installed torch" in old.message
    assert "--shm-size" in judge(Backend(SYSTEM + "No space left on device, /dev/shm/nccl-1")).message
    assert "Install gcc and python3-dev" in judge(RuntimeError("Failed to find C compiler.")).message
