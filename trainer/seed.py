"""One seed for everything that draws, and algorithms that give the same bits twice."""

import hashlib
import os
import random

import torch

# In the words of torch for an operation that has none.
NOT_DETERMINISTIC = "does not have a deterministic implementation"


def settle(seed: int) -> None:
    """The same on every rank. Batches have generators of their own; the dropout of an adapter draws from this one."""
    random.seed(seed)
    torch.manual_seed(seed)
    # Sums of bf16 products stay fp32 until they are whole.
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    if torch.cuda.is_available():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Else each new tensor is filled with NaN first, pinned ones by one thread: 0.4 s a GiB.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = False


def strict(wanted: bool) -> None:
    """On a GPU: whether an operation without a deterministic kernel raises, or is only warned of.

    torch's own attention, which padded rows have, takes its deterministic backward only where it would raise (ATen's
    cuda/attention_backward.cu). FlexAttention sums in one order in any case.
    """
    if torch.cuda.is_available():
        torch.use_deterministic_algorithms(True, warn_only=not wanted)


def is_lax() -> bool:
    """Whether, on a GPU, something may be summed in another order the next time."""
    return torch.cuda.is_available() and torch.is_deterministic_algorithms_warn_only_enabled()


def anew(seed: int, step: int, rank: int) -> None:
    """Where no state of this rank was kept: decided by where the run is."""
    torch.manual_seed(int.from_bytes(hashlib.sha256(f"{seed}:{step}:{rank}".encode()).digest()[:8]) >> 1)


def state() -> dict[str, torch.Tensor]:
    found = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.get_rng_state()
    return found


def restore(found: dict[str, torch.Tensor]) -> None:
    torch.set_rng_state(found["cpu"])
    if "cuda" in found and torch.cuda.is_available():
        torch.cuda.set_rng_state(found["cuda"])
