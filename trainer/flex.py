"""FlexAttention (Dong et al. 2024) for rows of documents: which blocks it looks at, and a kernel for each use."""

from collections.abc import Callable, Sequence
from functools import cache
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

BLOCK = 128
Sees = Callable[[Tensor, Tensor], Tensor]


def blocks(trees: Sequence[tuple[int, ...]], window: int | None, sees: Sees, device: torch.device) -> Any:
    """A BlockMask as torch's create_block_mask makes it of `sees`, without its tables of [T, T].

    trees: of each document the tokens of its trunk and of its branches; sees: (query, key) indices -> bool. What a part
    sees of another is decided by where they stand: only the pairs of parts that meet in two blocks are compared.
    """
    from torch.nn.attention.flex_attention import BlockMask

    seen, whole = tables(trees, window)
    some = seen & ~whole
    length = sum(map(sum, trees))
    partial_counts, partial, full_counts, full = (each.to(device) for each in (*listed(some), *listed(whole)))
    return BlockMask.from_kv_blocks(
        partial_counts,
        partial,
        full_counts,
        full,
        BLOCK_SIZE=BLOCK,
        mask_mod=lambda b, h, q, k: sees(q, k),
        seq_lengths=(length, length),
    )


def listed(table: Tensor) -> tuple[Tensor, Tensor]:
    """[n, n] -> how many of a row are set [1, 1, n], and which, before those that are not [1, 1, n, n]."""
    counts = table.sum(1, dtype=torch.int32)
    order = torch.argsort(table.to(torch.int8), dim=1, descending=True, stable=True).to(torch.int32)
    return counts[None, None], order[None, None]


def tables(trees: Sequence[tuple[int, ...]], window: int | None) -> tuple[Tensor, Tensor]:
    """[n, n], n blocks of 128 tokens: whether a query of a block sees a key of another, and whether all see all."""
    pieces = torch.tensor(list(cut(trees)))
    block, length, first, part, trunk = pieces.T
    last = first + length - 1
    # Nearest and furthest key of each pair of pieces, in positions before the query.
    least, most = first[:, None] - last[None], last[:, None] - first[None]
    reach = int(most.max()) + 1 if window is None else window
    related = (part[:, None] == part[None]) | (trunk[:, None] == part[None])
    some = related & (most >= 0) & (least < reach)
    every = related & (least >= 0) & (most < reach)
    count = int(block[-1]) + 1
    pair = block[:, None] * count + block[None]
    seen = torch.zeros(count * count, dtype=torch.bool)
    seen[pair[some]] = True
    pairs = torch.zeros(count * count, dtype=torch.int64)
    pairs.index_add_(0, pair[every], (length[:, None] * length[None])[every])
    return seen.view(count, count), (pairs == BLOCK * BLOCK).view(count, count)


def cut(trees: Sequence[tuple[int, ...]]) -> Any:
    """The parts of a row cut at the blocks' ends: (block, tokens, position of the first, part, the part's trunk)."""
    start = number = 0
    for tree in trees:
        trunk = number
        for branch, length in enumerate(tree):
            position = tree[0] if branch else 0
            ends = [*range((start // BLOCK + 1) * BLOCK, start + length, BLOCK), start + length]
            for begin, end in zip([start, *ends], ends, strict=False):
                if end > begin:
                    yield begin // BLOCK, end - begin, position + begin - start, number, trunk
            start += length
            number += 1


@cache
def function(device: str, window: int | None, softcap: float | None, graph: bool) -> Any:
    """flex_attention: elsewhere than on a GPU as it is, without gradients.

    On a GPU compiled, for each use by itself: torch compiles at most eight variants of one code object, and runs what
    comes after them uncompiled, which keeps heads x T x T scores. A use has three: rows of one length, of any, and of
    one block. A graph that breaks raises.
    """
    from torch.nn.attention.flex_attention import flex_attention

    if device != "cuda":
        return flex_attention
    return torch.compile(copied(flex_attention, f"flex_{window}_{softcap}_{graph}"), fullgraph=True)


def copied(original: Any, name: str) -> Any:
    """The same function with a code object of its own."""
    code = original.__code__.replace(co_name=name)
    own = FunctionType(code, original.__globals__, name, original.__defaults__, original.__closure__)
    own.__kwdefaults__ = original.__kwdefaults__
    return own
