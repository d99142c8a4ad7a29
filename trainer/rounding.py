"""Stochastic rounding from fp32 to bf16: up or down, each the oftener the nearer, so that on average nothing is lost.

Rounding to nearest loses every update under half a unit (Gupta et al. 2015; measured: docs/bf16.md). The draws are
not a generator's: each is a hash of a seed, a name and the element's index, so the same bits come out on any number of
ranks, in any order, and after a resume.
"""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

# Elements at once: what is computed on the way stays in the cache. Even, since two elements share a hash.
CHUNK = 1 << 17


@dataclass(frozen=True)
class Draws:
    """`what` tells draws apart: a run's seed, a parameter's name, a step."""

    what: tuple[int | str, ...]

    def keys(self) -> tuple[int, int]:
        """Two of 32 bits, signed as torch's int32 are."""
        digest = hashlib.sha256(":".join(map(str, self.what)).encode()).digest()
        return int.from_bytes(digest[:4], signed=True), int.from_bytes(digest[4:8], signed=True)


def rounded(values: Tensor, draws: Draws, start: int = 0) -> Tensor:
    """fp32 -> bf16 of the same shape; `values` are the elements from `start` on of what the draws belong to.

    Values that bf16 has stay as they are, infinities and NaN too; no sign changes.
    """
    flat = values.detach().contiguous().view(-1)
    found = torch.empty(flat.shape, dtype=torch.bfloat16, device=values.device)
    into(found, flat, draws, start)
    return found.view(values.shape)


def into(target: Tensor, values: Tensor, draws: Draws, start: int = 0) -> None:
    """The same in place, of one dimension: `target` bf16 [n], `values` fp32 [n]."""
    ramp = torch.arange(min(CHUNK, len(values)) // 2 + 1, dtype=torch.int32, device=values.device)
    for low in range(0, len(values), CHUNK):
        part = values[low : low + CHUNK]
        at = start + low
        words = hashes(ramp[: (len(part) + at % 2 + 1) // 2], at // 2, draws)
        noise = words.view(torch.int16)[at % 2 :][: len(part)]
        # Below the 16 bits that bf16 keeps, a carry comes as often as they are large.
        bits = (part.view(torch.int32) + noise).add_(1 << 15).bitwise_right_shift_(16)
        near = bits.to(torch.int16).view(torch.bfloat16)
        target[low : low + CHUNK] = near if part.isfinite().all() else torch.where(part.isfinite(), near, part)


def variance(values: Tensor) -> Tensor:
    """Of what `rounded` makes of fp32 values: distance down times distance up."""
    below = values.view(torch.int32) & -(1 << 16)
    low, high = below.view(torch.float32), (below + (1 << 16)).view(torch.float32)
    return (values - low) * (high - values)


def hashes(ramp: Tensor, first: int, draws: Draws) -> Tensor:
    """int32 of the words from `first` on: the finaliser of MurmurHash3 over their index, keyed twice."""
    one, two = draws.keys()
    word = ramp * signed(0x9E3779B1)
    word += signed(first * 0x9E3779B1 + one)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        word ^= (word >> shift) & (0xFFFFFFFF >> shift)
        word *= signed(factor)
        word ^= two
    return word.bitwise_xor_((word >> 16) & 0xFFFF)


def signed(number: int) -> int:
    """The same 32 bits as torch's int32."""
    return (number + (1 << 31)) % (1 << 32) - (1 << 31)
