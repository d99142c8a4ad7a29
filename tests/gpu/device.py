"""Where the GPU tests compute: a CUDA device; for a look at the tests themselves, PALATE_GPU_TESTS_ON=cpu."""

import os

import pytest
import torch

DEVICE = torch.device(os.environ.get("PALATE_GPU_TESTS_ON", "cuda"))
needs_device = pytest.mark.skipif(
    DEVICE.type == "cuda" and not torch.cuda.is_available(),
    reason="no CUDA device on this machine; README, `On a GPU`, has the command for one that has",
)
