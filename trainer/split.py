"""Which examples are held out where no validation file is given: whole prompts, so that none is on both sides."""

import hashlib
from collections import Counter
from collections.abc import Sequence

from trainer.data import Tokenised


def held_out(groups: Sequence[str], seed: int, share: float) -> frozenset[str]:
    """The groups to hold out; `groups` has one entry an example.

    In an order that seed and group alone decide, each group that still fits into round(share x examples); where all are
    larger, the smallest, unless that is half of the examples or more. So a longer file keeps most of what was held out.
    """
    sizes = Counter(groups)
    room = round(share * len(groups))

    def place(group: str) -> str:
        return hashlib.sha256(f"{seed}:{group}".encode()).hexdigest()

    chosen: list[str] = []
    for group in sorted(sizes, key=place):
        if sizes[group] <= room:
            chosen.append(group)
            room -= sizes[group]
    if not chosen and sizes and share > 0:
        smallest = min(sizes, key=lambda group: (sizes[group], place(group)))
        chosen = [smallest] if 2 * sizes[smallest] < len(groups) else []
    return frozenset(chosen)


def apart(whole: Tokenised, seed: int, share: float) -> tuple[Tokenised, Tokenised]:
    """Training and held-out examples, each in the order of the file; what fell out stays with the former."""
    groups = [example.group for example in whole.examples]
    chosen = held_out(groups, seed, share)
    train, held = Tokenised(whole.boundary), Tokenised(whole.boundary)
    train.fallen, train.ties = whole.fallen, whole.ties
    for example in whole.examples:
        (held if example.group in chosen else train).examples.append(example)
    # One for each example, in their order.
    for group, other in zip(groups if whole.mismatched else [], whole.mismatched, strict=True):
        (held if group in chosen else train).mismatched.append(other)
    return train, held
