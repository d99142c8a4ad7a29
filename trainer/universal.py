"""A resume point for another number of ranks: DeepSpeed's universal layout, each parameter's state a whole tensor."""

import argparse
import contextlib
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer import shards
from trainer.world import World


def prepare(state: Path, target: Path, world: World) -> Path:
    """Rank 0 converts, all wait; an error of it is raised on all. Returns `target`."""
    error: Exception | None = None
    if world.leads:
        try:
            convert(state, target)
        # Whatever goes wrong on rank 0 alone has to reach the ranks that wait.
        except Exception as found:
            error = found
    world.agree(error)
    return target


@contextlib.contextmanager
def layout(deepspeed: Any, enabled: bool) -> Iterator[None]:
    """While inside, load_checkpoint reads the universal layout."""
    deepspeed._config.load_universal_checkpoint = enabled
    yield
    deepspeed._config.load_universal_checkpoint = False


def convert(state: Path, target: Path) -> None:
    """From a verified resume point's shards (`state`) to `target`, which must not be the resume point; on one rank.

    Memory: one rank's shard. Disk: the state, twice.
    """
    for path in sorted(state.glob("*.pt")):
        shards.scan(path)
    from deepspeed.checkpoint import ds_to_universal

    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    arguments = argparse.Namespace(
        input_folder=str(state),
        output_folder=str(target),
        num_extract_workers=1,
        num_merge_workers=1,
        keep_temp_folder=False,
        strict=True,
        inject_missing_state=False,
    )
    # Its words and progress bars are not ours to tell.
    with shards.distrust(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        ds_to_universal.main(arguments)
