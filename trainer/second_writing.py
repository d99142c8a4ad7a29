"""What a layout must be, written a second time and otherwise: by the paths of the answers, not by documents.

trainer.layouts makes a batch; here each answer's tokens are looked for in it one by one. Both have to agree on ids,
positions, what is seen, and which tokens are scored. A slip in either shows before a number is computed.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainer.attention import visible
from trainer.data import Example
from trainer.layouts import Batch, Layout


def paths(examples: Sequence[Example], layout: Layout) -> list[list[int]]:
    """Of each answer the flat indices [B x T] of its fed tokens, from the first to the last but one."""
    found: list[list[int]] = []
    longest = max(example.longest for example in examples) - 1
    at = 0
    for example in examples:
        trunk = range(at, at + example.prefix) if layout == "shared" else range(0)
        at += len(trunk)
        for answer in example.answers:
            fed = len(answer.ids) - 1 - len(trunk)
            found.append([*trunk, *range(at, at + fed)])
            at += longest if layout == "padded" else fed
    return found


def disagreement(batch: Batch, examples: Sequence[Example], layout: Layout, ends: frozenset[int] | None = None) -> str:
    """In which a batch is not what it must be, as a sentence; "" where both agree. `ends`: ids that may end a turn."""
    answers = [answer for example in examples for answer in example.answers]
    ways = paths(examples, layout)
    ids = batch.ids.flatten().tolist()
    positions = None if batch.positions is None else batch.positions.flatten().tolist()
    predictors, targets = batch.predictor.tolist(), batch.targets.tolist()
    sequence, place = batch.sequence.tolist(), batch.place.tolist()
    met = 0
    for number, (answer, way) in enumerate(zip(answers, ways, strict=True)):
        here = f"answer {number + 1}"
        if [ids[at] for at in way] != list(answer.ids[:-1]):
            return f"{here} is fed other tokens than its own"
        if positions is not None and [positions[at] for at in way] != list(range(len(way))):
            return f"the positions of {here} do not count from 0 along its path"
        wanted = [t for t in range(len(answer.ids)) if any(start <= t < end for start, end in answer.spans)]
        if not wanted or wanted[-1] != len(answer.ids) - 1:
            return f"the last token of {here} is not scored"
        if ends is not None and answer.ids[-1] not in ends:
            return f"{here} does not end with an end token, but with id {answer.ids[-1]}"
        mine = range(met, met + len(wanted))
        if [predictors[i] for i in mine] != [way[t - 1] for t in wanted]:
            return f"a scored token of {here} is not predicted by the token before it"
        if [targets[i] for i in mine] != [answer.ids[t] for t in wanted]:
            return f"another token than that of {here} is scored"
        if [sequence[i] for i in mine] != [number] * len(mine) or place[number][: len(mine)] != list(mine):
            return f"a scored token of {here} counts for another answer"
        if any(i != len(targets) for i in place[number][len(mine) :]):
            return f"{here} counts tokens that are not its own"
        met += len(wanted)
    if met != len(targets):
        return f"{len(targets)} tokens are scored, not {met}"
    return mask_disagreement(batch, ways)


def mask_disagreement(batch: Batch, ways: Sequence[Sequence[int]]) -> str:
    fed = torch.zeros(batch.ids.numel(), dtype=torch.bool)
    for way in ways:
        fed[list(way)] = True
    if batch.documents is None:
        assert batch.attention is not None
        right = torch.equal(batch.attention.flatten().cpu().bool(), fed)
        return "" if right else "the attention mask is not that of the tokens fed"
    if not bool(fed.all()):
        return "the row holds tokens of no answer"
    if sum(map(sum, batch.documents.trees)) != len(fed):
        return "the row's documents are not as long as the row"
    index = torch.arange(len(fed), device=batch.ids.device)
    for number, way in enumerate(ways):
        own = torch.tensor(way, device=batch.ids.device)
        seen = visible(batch.documents, None)(own[:, None], index[None, :])
        if not torch.equal(seen.cpu(), may_see(way, len(fed), None)):
            return f"answer {number + 1} sees other tokens than those before it"
    return ""


def may_see(way: Sequence[int], tokens: int, window: int | None) -> Tensor:
    """[len(way), tokens]: each token of a path sees those of its path up to itself, at most `window` with itself."""
    count = len(way)
    table = torch.zeros(count, tokens, dtype=torch.bool)
    table[:, list(way)] = torch.ones(count, count, dtype=torch.bool).tril().triu(1 - (window or count))
    return table
