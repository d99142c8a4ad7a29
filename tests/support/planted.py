"""Faults of scoring, planted: each is what a slip in the code would be (docs/numerics.md names them)."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn

from trainer import attention, layouts

Planted = Callable[[nn.Module], AbstractContextManager[None]]


@contextmanager
def replaced(module: Any, name: str, other: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, other)
    attention.register()
    try:
        yield
    finally:
        setattr(module, name, before)
        attention.register()


def depth(model: nn.Module) -> int:
    layers: int = model.config.num_hidden_layers  # type: ignore[union-attr, assignment]
    return layers


def leak(kind: str, layer: int, model: nn.Module) -> AbstractContextManager[None]:
    """In one layer, the tokens of each document (or branch) see one token of the one before it."""
    right, number = attention.attend, layer % depth(model)

    def leaky(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *more: Any, **given: Any) -> Any:
        found, nothing = right(module, query, key, value, *more, **given)
        row = attention._current.get()
        if module.layer_idx != number or row is None:
            return found, nothing
        table, at = row.dense(given.get("sliding_window")), 0
        for document, (trunk, *branches) in enumerate(row.documents.trees):
            whole = trunk + sum(branches)
            if kind == "document" and document:
                table[at : at + whole, at - 1] = True
            ends = list(accumulate(branches, initial=at + trunk))
            for begin, end in pairwise(ends[1:] if kind == "branch" else []):
                table[begin:end, begin - 1] = True
            at += whole
        scale = given.get("scaling") or query.shape[-1] ** -0.5
        wrong = attention.explicit(query, key, value, scale, table, given.get("softcap"), given.get("s_aux"))
        return wrong.transpose(1, 2), nothing

    return replaced(attention, "attend", leaky)


def shifted_branches(model: nn.Module) -> AbstractContextManager[None]:
    """A branch's positions are one too far behind its trunk."""
    right = layouts.plant

    def plant(trees: Any, device: torch.device) -> layouts.Documents:
        made = right(trees, device)
        return layouts.Documents(made.trees, made.document, made.branch, made.position + (made.branch > 0))

    return replaced(layouts, "plant", plant)


@contextmanager
def last_token_unscored(model: nn.Module) -> Iterator[None]:
    """Where an answer has more than one."""
    scored, count = layouts.scored, layouts.count
    with (
        replaced(layouts, "scored", lambda answer: scored(answer)[:-1] or scored(answer)),
        replaced(layouts, "count", lambda answer: max(1, count(answer) - 1)),
    ):
        yield


def next_token_scored(model: nn.Module) -> AbstractContextManager[None]:
    """Each token by the hidden state behind it: a batch that is off by one."""
    right = layouts.make

    def make(examples: Any, ids: Any, positions: Any, mask: Any, documents: Any, predictors: Any, device: Any) -> Any:
        return right(
            examples, ids, positions, mask, documents, [min(p + 1, ids.numel() - 1) for p in predictors], device
        )

    return replaced(layouts, "make", make)


@contextmanager
def positions_ignored(model: nn.Module) -> Iterator[None]:
    """The model counts along the row."""
    body: Any = model.base_model

    def drop(module: nn.Module, given: Any, named: dict[str, Any]) -> Any:
        # The layers get the positions as they are handed on; without any, the body counts by itself.
        return given, {**named, "position_ids": torch.arange(named["input_ids"].shape[1])[None]}

    hook = body.register_forward_pre_hook(drop, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def window_too_long(model: nn.Module) -> AbstractContextManager[None]:
    right = attention.band
    return replaced(
        attention, "band", lambda rows, before, window: right(rows, before, None if window is None else window + 1)
    )


def everything_visible(model: nn.Module) -> AbstractContextManager[None]:
    """A document sees all documents before it: rows are packed without any mask."""
    right = attention.attend

    def blind(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *more: Any, **given: Any) -> Any:
        _, nothing = right(module, query, key, value, *more, **given)
        row = attention._current.get()
        assert row is not None
        scale = given.get("scaling") or query.shape[-1] ** -0.5
        table = torch.ones(row.length, row.length, dtype=torch.bool).tril()
        wrong = attention.explicit(query, key, value, scale, table, given.get("softcap"), given.get("s_aux"))
        return wrong.transpose(1, 2), nothing

    return replaced(attention, "attend", blind)


# Each is caught in rows of any model that attends; of windows one needs a model that has them.
FAULTS: dict[str, Planted] = {
    "a neighbour's token visible in the first layer": partial(leak, "document", 0),
    "a neighbour's token visible in a middle layer": lambda model: leak(
        "document",
        depth(model) // 2,
        model,
    ),
    "a neighbour's token visible in the last layer": partial(leak, "document", -1),
    "a sibling's token visible in the last layer": partial(leak, "branch", -1),
    "all documents before it visible": everything_visible,
    "a branch's positions one too far": shifted_branches,
    "positions ignored by the model": positions_ignored,
    "the last token unscored": last_token_unscored,
    "each token predicted by the one behind": next_token_scored,
}
# These are wrong for an answer alone too.
ANYWHERE = {"the last token unscored", "each token predicted by the one behind"}
