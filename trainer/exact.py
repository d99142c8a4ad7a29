"""The gates with limit zero: what rounding cannot explain, in fp32 and bf16 alike (docs/numerics.md).

A leak of one layer is smaller than the rounding of bf16. But what an answer must not see has no gradient at all, and
may be anything without moving a bit of the answer's sum; and one answer at two places of a row is the same answer. Each
gate compares forwards of one shape, so that the same kernels run.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer import attention
from trainer.collection import scored_tokens
from trainer.data import Example
from trainer.engine import Engine
from trainer.layouts import Batch, Layout, collate
from trainer.noise import Noise, by_root, head_tiles
from trainer.render import Answer
from trainer.second_writing import disagreement, may_see, paths
from trainer.world import World

# Twins stand so many tokens apart, or a multiple of it: then every kernel cuts both alike.
APART = 128
SCORED = 16
ONE_TILE = 1 << 30
# Row attention against arithmetic written out, of the largest value. On a CPU it is always tried in fp32.
ATTENTION_LIMITS = {"fp32": 1e-4, "bf16": 2e-2}


@dataclass(frozen=True)
class Gate:
    """What the gates of one layout ask: of `examples`, two at least, with the gradients [T, H] of each answer alone."""

    engine: Engine
    world: World
    examples: Sequence[Example]
    alone: Sequence[Tensor]
    noise: Noise
    ends: frozenset[int] | None = None

    def refuses(self, layout: Layout) -> str:
        """The first gate that this layout fails, as a sentence; "" where none does. The same on every rank."""
        batch = collate(self.examples, layout, self.world.device)
        wrong = disagreement(batch, self.examples, layout, self.ends)
        if wrong:
            return f"ids and places: {wrong}"
        gates = [self.visibility, self.perturbation]
        if batch.documents:
            gates += [self.twins, self.kinds_of_layers]
        for gate in gates:
            found = next(filter(None, self.world.gather(gate(batch, layout))), "")
            if found:
                return found
        return ""

    def visibility(self, batch: Batch, layout: Layout) -> str:
        """The gradient of an answer's sum is zero at all embeddings but its own, and at none of those."""
        ways = paths(self.examples, layout)
        for chosen in self.pairs():
            factors = [float(number in chosen) for number in range(len(ways))]
            _, gradient = self.engine.trace(batch, factors)
            rows = gradient.flatten(0, 1).cpu().float()
            own = sorted({at for number in chosen for at in ways[number]})
            foreign = rows.clone()
            foreign[own] = 0
            leak = float(foreign.abs().max())
            if leak != 0:
                return (
                    f"visibility: an answer's sum has a gradient of {leak:.1e} at tokens that it must not see, not 0 "
                    f"(its own have up to {float(rows[own].abs().max()):.1e})"
                )
            for number in chosen:
                expected = self.alone[number].abs().amax(1)
                felt = expected > 1e-6 * expected.max()
                blind = (rows[ways[number]].abs().amax(1) == 0) & felt
                if bool(blind.any()):
                    return f"visibility: an answer does not see {int(blind.sum())} of its own {len(felt)} tokens"
        return ""

    def pairs(self) -> list[list[int]]:
        """Answers by number: the last of every other example, then the first of the others."""
        starts = [0]
        for example in self.examples:
            starts.append(starts[-1] + len(example.answers))
        return [[end - 1 for end in starts[1::2]], starts[1:-1:2]]

    def perturbation(self, batch: Batch, layout: Layout) -> str:
        """Other tokens for all neighbours and siblings, as many: not a bit of the answer's own sum moves."""
        kept = self.pairs()[1]
        ways = paths(self.examples, layout)
        own = torch.tensor(sorted({at for number in kept for at in ways[number]}))
        ids = batch.ids.flatten().cpu()
        others = torch.tensor(sorted(set(ids.tolist())))
        changed = others[(torch.searchsorted(others, ids) + 1) % len(others)]
        changed[own] = ids[own]
        told = replace(batch, ids=changed.view_as(batch.ids).to(batch.ids.device))
        before, after = (self.engine.score_only(each)[kept, 0].cpu() for each in (batch, told))
        name = "perturbation: other tokens beside it move an answer's sum"
        bits = not has_experts(self.engine.model)
        return self.same(name, before, after, scored_tokens(self.examples)[kept], bits)

    def twins(self, batch: Batch, layout: Layout) -> str:
        """One answer as two branches, and in two documents of the row: one sum, bit for bit."""
        given, places = twin_examples(self.examples, layout, self.room)
        row = collate(given, layout, self.world.device)
        with head_tiles(ONE_TILE), recorded() as calls:
            sums = self.engine.score_only(row)[places, 0].cpu()
        ways = paths(given, layout)
        # In the first layer nothing but their positions could tell them apart, whatever experts do behind it.
        for call in calls[:1]:
            apart = call.apart([ways[place] for place in places])
            if apart > (0.0 if self.world.device.type == "cpu" else ATTENTION_LIMITS["bf16"]):
                return (
                    f"twins: the first layer sees one answer at several places of a row {apart:.1e} of the largest "
                    "value apart, as if it counted along the row"
                )
        name = "twins: one answer at several places of a row has several sums"
        # No GPU has shown yet that it keeps the bits.
        bits = not has_experts(self.engine.model) and self.world.device.type == "cpu"
        return self.same(name, sums[:1].expand(len(sums)), sums, scored_tokens(given)[places], bits)

    @property
    def room(self) -> int:
        """Tokens that an answer may have, by what is tried already and by the model's word."""
        context = getattr(text_config(self.engine.model), "max_position_embeddings", None) or 0
        return max(*(example.longest for example in self.examples), int(context))

    def same(self, name: str, one: Tensor, other: Tensor, lengths: Tensor, bits: bool) -> str:
        """Sums of answers of so many scored tokens: bit for bit, or else within the noise."""
        if torch.equal(one, other):
            return ""
        if bits:
            return f"{name}, by {float((one - other).abs().max()):.1e}, not 0"
        off = float(by_root(one - other, lengths).max())
        return "" if off <= self.noise.limit else f"{name}, by {off:.1e} x sqrt(tokens); {self.noise.said}"

    def kinds_of_layers(self, batch: Batch, layout: Layout) -> str:
        """Each kind of layer once, on what it is really given: nothing falls on what is not seen, the rest is right."""
        with recorded() as calls:
            self.engine.score_only(batch)
        assert batch.documents
        ways = paths(self.examples, layout)
        with attention.inside(attention.Attending(batch.documents)), torch.no_grad():
            for call in calls:
                wrong = call.wrong(ways)
                if wrong:
                    return f"attention, {call.kind}: {wrong}"
        return ""


@dataclass(frozen=True)
class Call:
    """What a layer gave to row attention: q, k, v [1, heads, T, d]; scaling, sliding_window, softcap, s_aux."""

    module: nn.Module
    query: Tensor
    key: Tensor
    value: Tensor
    given: dict[str, Any]

    @property
    def kind(self) -> str:
        window = self.given["sliding_window"]
        words = ["full layers" if window is None else f"layers with a window of {window}"]
        words += ["a cap"] * (self.given["softcap"] is not None) + ["sinks"] * (self.given["s_aux"] is not None)
        return " and ".join(words)

    def apart(self, ways: Sequence[Sequence[int]]) -> float:
        """How far queries and keys of the first path are from those of the others, of the largest value."""
        found = 0.0
        for each in (self.query, self.key):
            first, *others = (each[:, :, list(way)].float() for way in ways)
            found = max(found, *(float((other - first).abs().max() / first.abs().max()) for other in others))
        return found

    def wrong(self, ways: Sequence[Sequence[int]]) -> str:
        """Against arithmetic written out, for about as many queries as a head is wide. In fp32, but on a GPU as it is.

        A window that no path outgrows is tried at half of the longest.
        """
        parts = (self.query, self.key, self.value)
        query, key, value = parts if self.value.device.type == "cuda" else (each.float() for each in parts)
        tokens, width = value.shape[2], value.shape[3]
        given = dict(self.given)
        if given["sliding_window"] is not None:
            given["sliding_window"] = min(given["sliding_window"], max(1, max(map(len, ways)) // 2))
        queries, table = asked(ways, tokens, width, given["sliding_window"])
        table = table.to(value.device)

        def attended(values: Tensor) -> Tensor:
            """[1, heads, queries, d]"""
            found = attention.attend(self.module, query, key, values, None, **given)[0]
            return found.transpose(1, 2)[:, :, queries]

        # Column c of the values is 1 where query c must not look: what comes out there is the weight that fell on it.
        unseen = F.pad((~table).t().to(value.dtype), (0, width - len(queries)))
        each = range(len(queries))
        leak = float(attended(unseen.expand_as(value).contiguous())[0][:, each, each].abs().max())
        if leak != 0:
            return f"a weight of {leak:.1e} falls on tokens that are not to be seen, not 0"
        scale = given["scaling"] or 1 / sqrt(query.shape[-1])
        expected = attention.explicit(query[:, :, queries], key, value, scale, table, given["softcap"], given["s_aux"])
        off = float((attended(value) - expected).abs().max() / value.abs().max())
        limit = ATTENTION_LIMITS["fp32" if value.dtype == torch.float32 else "bf16"]
        return "" if off <= limit else f"off by {off:.1e} of the largest value (at most {limit:.0e})"


def asked(ways: Sequence[Sequence[int]], tokens: int, most: int, window: int | None) -> tuple[list[int], Tensor]:
    """Queries, at most so many: beginnings and ends of paths, and others between; and what they may see [Q, T]."""
    place = {at: (number, i) for number, way in enumerate(ways) for i, at in enumerate(way)}
    wanted = sorted({at for way in ways for at in (way[0], way[-1])} | {at * tokens // most for at in range(most)})
    queries = wanted[:: -(-len(wanted) // most)]
    seen = [may_see(ways[number], tokens, window)[i] for at in queries for number, i in [place[at]]]
    return queries, torch.stack(seen)


@contextmanager
def recorded() -> Iterator[list[Call]]:
    """The first call of row attention of each kind of layer, while inside."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    calls: dict[str, Call] = {}

    def record(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **given: Any
    ) -> tuple[Tensor, None]:
        known = {name: given.get(name) for name in ("scaling", "sliding_window", "softcap", "s_aux")}
        # A parameter is whole within its layer's forward only.
        kept = {name: each.detach().clone() if isinstance(each, Tensor) else each for name, each in known.items()}
        call = Call(module, query.detach(), key.detach(), value.detach(), kept)
        calls.setdefault(call.kind, call)
        return attention.attend(module, query, key, value, attention_mask, **given)

    found: list[Call] = []
    ALL_ATTENTION_FUNCTIONS.register(attention.NAME, record)
    try:
        yield found
    finally:
        attention.register()
    found += calls.values()


def has_experts(model: nn.Module) -> bool:
    """Products grouped by expert: an answer's rows stand with its neighbours', in an order that they decide."""
    settings = vars(text_config(model)).items()
    named = any("expert" in name and isinstance(found, int) and found > 1 for name, found in settings)
    return named or any("expert" in name for name, _ in model.named_parameters())


def text_config(model: Any) -> Any:
    return model.config.get_text_config()


def twin_examples(examples: Sequence[Example], layout: Layout, room: int) -> tuple[list[Example], list[int]]:
    """A row with one answer at several places, and the numbers of its answers there.

    Between them stands filling, so that the places are a multiple of APART tokens apart, and of SCORED scored ones.
    `room`: tokens that an answer may have.
    """
    example = min(examples, key=lambda e: min(len(answer.ids) for answer in e.answers))
    shortest = min((answer.ids for answer in example.answers), key=len)
    dropped = max(0, example.prefix - APART // 2)
    prefix = example.prefix - dropped
    ids = shortest[dropped:][: prefix + APART // 2]
    twin = Answer(ids, ((max(prefix, len(ids) - SCORED, 1), len(ids)),))
    pool = sorted({token for e in examples for answer in e.answers for token in answer.ids})

    def filling(fed: int, scored: int, trunk: int) -> list[Answer]:
        """Answers behind a trunk that bring fed and scored tokens of a row to the next multiples."""
        missing = -fed % APART or APART
        largest = max(1, min(missing, room - 1 - trunk))
        sizes = [min(largest, missing - start) for start in range(0, missing, largest)]
        wanted = -scored % SCORED
        found: list[Answer] = []
        for number, size in enumerate(sizes):
            # At least one of each, and of the first ones as many as are wanted beyond that.
            here = 1 + min(size - 1, max(0, (wanted - len(sizes)) % SCORED)) if number == 0 else 1
            own = tuple(pool[(7 * at + number) % len(pool)] for at in range(size + 1))
            found.append(Answer(ids[:trunk] + own, ((trunk + size + 1 - here, trunk + size + 1),)))
        return found

    counted = len(ids) - twin.spans[0][0]
    if layout == "packed":
        alone = [Example("", 0, 0, (each,)) for each in (twin, *filling(len(ids) - 1, counted, 0))]
        return alone * 2, [0, len(alone)]
    branches = [twin, *filling(len(ids) - 1 - prefix, counted, prefix), twin]
    tree = Example("", 0, prefix, tuple(branches))
    fed = prefix + sum(len(each.ids) - 1 - prefix for each in branches)
    beside = filling(fed, sum(end - start for each in branches for start, end in each.spans), 0)
    whole = [tree, *(Example("", 0, 1, (each,)) for each in beside)]
    answers = len(branches) + len(beside)
    return whole * 2, [0, len(branches) - 1, answers, answers + len(branches) - 1]
