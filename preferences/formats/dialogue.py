"""Two whole dialogues that begin alike: what they share is the prompt."""

from preferences.draft import Turn
from preferences.faults import RowFault


def part(chosen: list[Turn], rejected: list[Turn], paths: tuple[str, str]) -> tuple[list[Turn], list[Turn], list[Turn]]:
    """Prompt, chosen, rejected; the prompt is the longest common beginning, short of the last message of either."""
    shared = 0
    for ours, theirs in zip(chosen[:-1], rejected[:-1], strict=False):
        if ours != theirs:
            break
        shared += 1
    if not shared:
        raise RowFault("no_common_prefix", paths[0], f"`{paths[0]}` and `{paths[1]}` share no first message.")
    return chosen[:shared], chosen[shared:], rejected[shared:]
