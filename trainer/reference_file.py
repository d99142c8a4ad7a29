"""reference.safetensors: log-probabilities under one reference, found by the tokens that they belong to."""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from core.contract.errors import PalateError
from trainer.render import Answer

NAME = "reference.safetensors"
DIGEST_BYTES = 32
TENSORS = {"digests": torch.uint8, "heads": torch.int32, "sums": torch.float32, "head_sums": torch.float32}


class UnusableEntry(PalateError):
    """Damaged, or another reference's."""

    code = "reference_entry_unusable"


def digest(answer: Answer) -> bytes:
    """sha256 of the token ids and the scored spans: template, truncation and length are in them."""
    bounds = [bound for span in answer.spans for bound in span]
    numbers = (len(answer.ids), *answer.ids, *bounds)
    return hashlib.sha256(struct.pack(f"<{len(numbers)}q", *numbers)).digest()


@dataclass(frozen=True)
class Entries:
    """Of N answers: digests uint8 [N, 32]; sums fp32 [N]; head_sums fp32 [N] over the first heads (int32 [N]) tokens.

    The tokens counted by `heads` are scored ones.
    """

    digests: Tensor
    heads: Tensor
    sums: Tensor
    head_sums: Tensor

    def each(self) -> Iterator[tuple[bytes, int, float, float]]:
        """(digest, head, sum, head sum) of every answer."""
        packed = self.digests.numpy().tobytes()
        names = (packed[at : at + DIGEST_BYTES] for at in range(0, len(packed), DIGEST_BYTES))
        yield from zip(names, self.heads.tolist(), self.sums.tolist(), self.head_sums.tolist(), strict=True)


def write(folder: Path, key: str, entries: Entries) -> Path:
    path = folder / NAME
    save_file({name: getattr(entries, name).contiguous() for name in TENSORS}, path, metadata={"key": key})
    return path


def read(path: Path, key: str) -> Entries:
    """Raises UnusableEntry for a file that is damaged or holds another reference's numbers."""
    try:
        with safe_open(path, "pt") as file:
            found = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in TENSORS}
    except (OSError, SafetensorError) as error:
        raise UnusableEntry(f"it cannot be read ({error})") from error
    if found.get("key") != key:
        raise UnusableEntry("it holds another reference's numbers")
    rows = tensors["sums"].numel()
    for name, dtype in TENSORS.items():
        shape = (rows, DIGEST_BYTES) if name == "digests" else (rows,)
        if tensors[name].dtype != dtype or tensors[name].shape != shape:
            was = f"{tensors[name].dtype} {tuple(tensors[name].shape)}"
            raise UnusableEntry(f"its {name} are {was}, not {dtype} {shape}")
    if not (tensors["sums"].isfinite().all() and tensors["head_sums"].isfinite().all()):
        raise UnusableEntry("it holds a number that is not finite")
    return Entries(**tensors)
