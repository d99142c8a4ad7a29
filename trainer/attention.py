"""Attention within the documents of a packed row, in the place of a model's own attention function.

What a layer may see is decided by `visible` alone. On a GPU FlexAttention skips the blocks that nobody sees. On a CPU
the row is cut: each trunk attends to itself, each branch to its trunk and itself, and what cannot be seen is never
computed.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer import flex
from trainer.layouts import Documents

NAME = "palate_rows"
# Arguments that models hand on and that change nothing here: the row says what is seen, and there is no cache.
HARMLESS = frozenset({"position_ids", "use_cache", "output_attentions", "output_hidden_states", "cache_position"})


class RowOnly(RuntimeError):
    """This attention function was called for something that it cannot do."""


def visible(documents: Documents, window: int | None) -> Callable[[Tensor, Tensor], Tensor]:
    """(query, key) indices into the row -> bool: whether the query may see the key."""
    document, branch, position = documents.document, documents.branch, documents.position

    def sees(query: Tensor, key: Tensor) -> Tensor:
        # Nothing in place: FlexAttention's compiler takes none.
        found = (document[query] == document[key]) & (position[key] <= position[query])
        found = found & ((branch[key] == 0) | (branch[key] == branch[query]))
        return found if window is None else found & (position[query] - position[key] < window)

    return sees


@dataclass(frozen=True)
class Part:
    """A trunk or a branch: its tokens in the row, those of its trunk (none for a trunk), and what is added to the
    scores [own, trunk + own]; None where all that is needed is that nobody sees ahead."""

    own: slice
    trunk: slice
    mask: Tensor | None

    def seen(self, whole: Tensor) -> Tensor:
        """[1, heads, T, d] -> [1, heads, trunk + own, d]"""
        trunk, own = self.trunk, self.own
        if trunk.start == trunk.stop or trunk.stop == own.start:
            return whole[:, :, trunk.start if trunk.start < trunk.stop else own.start : own.stop]
        return torch.cat((whole[:, :, trunk], whole[:, :, own]), 2)


class Attending:
    """A row's documents, with what the layers of one forward share."""

    def __init__(self, documents: Documents) -> None:
        self.documents = documents
        self.length = len(documents.document)
        self._blocks: dict[int | None, Any] = {}
        self._bands: dict[int | None, tuple[int, Tensor]] = {}
        self._parts: dict[tuple[int | None, torch.dtype], list[Part]] = {}

    def dense(self, window: int | None) -> Tensor:
        """[T, T]"""
        index = torch.arange(self.length, device=self.documents.document.device)
        return visible(self.documents, window)(index[:, None], index[None, :])

    def blocks(self, window: int | None) -> Any:
        """FlexAttention's, made once for all layers with this window."""
        if window not in self._blocks:
            documents = self.documents
            sees = visible(documents, window)
            self._blocks[window] = flex.blocks(documents.trees, window, sees, documents.document.device)
        return self._blocks[window]

    def parts(self, window: int | None, dtype: torch.dtype) -> list[Part]:
        """Of the whole row, in its order; those without a token are left out."""
        if (window, dtype) not in self._parts:
            found: list[Part] = []
            start = 0
            for trunk, *branches in self.documents.trees:
                spans = [(slice(start, start), trunk), *((slice(start, start + trunk), size) for size in branches)]
                for before, size in spans:
                    own = slice(start, start + size)
                    if size:
                        found.append(Part(own, before, self.added(before.stop - before.start, size, window, dtype)))
                    start += size
            self._parts[window, dtype] = found
        return self._parts[window, dtype]

    def added(self, trunk: int, length: int, window: int | None, dtype: torch.dtype) -> Tensor | None:
        """To the scores of a trunk or branch."""
        if trunk == 0 and (window is None or window >= length):
            return None
        seen = self.behind(trunk, length, window)
        return torch.zeros(seen.shape, dtype=dtype).masked_fill_(~seen, -math.inf)

    def behind(self, trunk: int, length: int, window: int | None) -> Tensor:
        """[length, trunk + length]: what a branch sees. Only distances count, so all are parts of one band."""
        if window not in self._bands:
            longest = max(size for tree in self.documents.trees for size in tree)
            before = max(tree[0] for tree in self.documents.trees)
            self._bands[window] = before, band(longest, before, window)
        before, table = self._bands[window]
        return table[:length, before - trunk : before + length]


def band(rows: int, before: int, window: int | None) -> Tensor:
    """[rows, before + rows]: the query in row i stands at i, the key in column j at j - before."""
    seen = torch.ones(rows, before + rows, dtype=torch.bool).tril(before)
    return seen if window is None else seen.triu(before + 1 - window)


_current: ContextVar[Attending | None] = ContextVar("row", default=None)


@contextmanager
def inside(attending: Attending | None) -> Iterator[None]:
    """The attention function sees this row, in this thread, until the end of the block."""
    token = _current.set(attending)
    try:
        yield
    finally:
        _current.reset(token)


def carried() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """For torch.utils.checkpoint(context_fn=…): a layer recomputed in the backward pass sees the row of its forward."""
    return nullcontext(), inside(_current.get())


def register() -> None:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, attend)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: query [1, heads, T, d] -> [1, T, heads, d]. Raises RowOnly."""
    row = _current.get()
    if row is None:
        raise RowOnly("The attention of packed rows was called outside of a row's forward.")
    if query.shape[2] != row.length or key.shape[2] != row.length or len(query) != 1:
        raise RowOnly(f"The attention of packed rows was called with {key.shape[2]} keys for {query.shape[2]} queries.")
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    wrong = {"attention_mask": attention_mask, **{name: others[name] for name in others if name not in HARMLESS}}
    wrong |= {"dropout": dropout or None, "is_causal": None if causal else False}
    found = sorted(name for name, argument in wrong.items() if argument is not None)
    if found:
        raise RowOnly(f"The model's attention takes {', '.join(found)}, unknown to packed rows.")
    scale = 1 / math.sqrt(query.shape[-1]) if scaling is None else scaling
    sums = flexed if query.device.type == "cuda" else branched
    return sums(row, query, key, value, scale, sliding_window, softcap, s_aux), None


def branched(
    row: Attending,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """[1, heads, T, d] -> [1, T, heads, d]"""
    if softcap is None and sinks is None and flash_fits(query, key, value):
        found: Tensor = Branched.apply(query, key, value, row, scale, window)  # type: ignore[no-untyped-call]
        return found
    return by_torch(row, query, key, value, scale, window, softcap, sinks)


def by_torch(
    row: Attending,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """The same by torch's differentiable functions: for what its kernel lacks, and as the measure of `Branched`."""
    sizes = [size for tree in row.documents.trees for size in tree]
    parts = zip(*(torch.split(whole, sizes, 2) for whole in (query, key, value)), strict=True)
    found = []

    def add(q: Tensor, k: Tensor, v: Tensor, trunk: int) -> None:
        length = q.shape[2]
        if softcap is not None or sinks is not None:
            sums = explicit(q, k, v, scale, row.behind(trunk, length, window), softcap, sinks)
        else:
            plain = trunk == 0 and (window is None or window >= length)
            mask = None if plain else row.behind(trunk, length, window)
            sums = F.scaled_dot_product_attention(q, k, v, mask, is_causal=plain, scale=scale, enable_gqa=True)
        found.append(sums.transpose(1, 2))

    for trunk, *branches in row.documents.trees:
        q, trunk_k, trunk_v = next(parts)
        add(q, trunk_k, trunk_v, 0)
        for _ in branches:
            q, k, v = next(parts)
            add(q, torch.cat((trunk_k, k), 2), torch.cat((trunk_v, v), 2), trunk)
    return torch.cat(found, 1)


def flash_fits(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Where scaled_dot_product_attention would take its kernel for the CPU, without dropout."""
    parts = (query, key, value)
    return (
        query.device.type == "cpu"
        and query.shape[-1] == value.shape[-1]
        and all(part.stride(-1) == 1 and part.dtype == query.dtype for part in parts)
    )


class Branched(torch.autograd.Function):
    """Attention of trunks and branches by the kernel that scaled_dot_product_attention takes on a CPU: the same bits.

    What a branch sees, its trunk's keys and values before its own, is put together again for the backward instead of
    kept, and so are the sums; gradients are added in place, in autograd's order.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, row: Attending, scale: float, window: int | None
    ) -> Tensor:
        sums = query.new_empty(1, query.shape[2], query.shape[1], value.shape[3])
        totals = []
        for part in row.parts(window, query.dtype):
            q, k, v = query[:, :, part.own], part.seen(key), part.seen(value)
            found, total = FLASH(q, k, v, 0.0, part.mask is None, attn_mask=part.mask, scale=scale)
            sums[:, part.own] = found.transpose(1, 2)
            totals.append(total)
        ctx.save_for_backward(query, key, value, sums, *totals)
        ctx.row, ctx.scale, ctx.window = row, scale, window
        return sums

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        query, key, value, sums, *totals = ctx.saved_tensors
        parts = ctx.row.parts(ctx.window, query.dtype)
        to_query, to_key, to_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        for part, total in zip(reversed(parts), reversed(totals), strict=True):
            own, trunk = part.own, part.trunk
            q, k, v = query[:, :, own], part.seen(key), part.seen(value)
            given, found = gradients[0][:, own].transpose(1, 2), sums[:, own].transpose(1, 2)
            dq, dk, dv = FLASH_BACKWARD(
                given, q, k, v, found, total, 0.0, part.mask is None, attn_mask=part.mask, scale=ctx.scale
            )
            to_query[:, :, own] = dq
            length = trunk.stop - trunk.start
            for target, found in ((to_key, dk), (to_value, dv)):
                target[:, :, trunk] += found[:, :, :length]
                target[:, :, own] += found[:, :, length:]
        return to_query, to_key, to_value, None, None, None


FLASH = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
FLASH_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def explicit(
    query: Tensor, key: Tensor, value: Tensor, scale: float, mask: Tensor, softcap: float | None, sinks: Tensor | None
) -> Tensor:
    """Written out: for what torch's own function lacks, and as the measure of the others in tests."""
    times = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(times, 1), value.repeat_interleave(times, 1)
    scores = (query @ key.transpose(2, 3)).float() * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.masked_fill(~mask, -math.inf)
    if sinks is not None:
        # A column that takes its part of the attention and gives nothing.
        scores = torch.cat([scores, sinks.float()[None, :, None, None].expand(*scores.shape[:3], 1)], dim=3)
    return scores.softmax(3)[..., : key.shape[2]].to(value.dtype) @ value


def flexed(
    row: Attending,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    from torch.nn.attention.flex_attention import AuxRequest

    times = query.shape[1] // key.shape[1]

    def capped(score: Tensor, *_: Tensor) -> Tensor:
        assert softcap is not None
        return softcap * torch.tanh(score / softcap)

    graph = torch.is_grad_enabled() and any(part.requires_grad for part in (query, key, value))
    found = flex.function(query.device.type, window, softcap, graph)(
        query,
        key,
        value,
        score_mod=None if softcap is None else capped,
        block_mask=row.blocks(window),
        scale=scale,
        enable_gqa=times > 1,
        return_aux=None if sinks is None else AuxRequest(lse=True),
    )
    if sinks is None:
        sums: Tensor = found
        return sums.transpose(1, 2)
    sums, aux = found
    # softmax over [scores, sink] without the sink's column = softmax over scores x sigmoid(lse - sink).
    share = torch.sigmoid(aux.lse - sinks.float()[None, :, None]).unsqueeze(3)
    shared: Tensor = (sums * share).to(value.dtype)
    return shared.transpose(1, 2)
