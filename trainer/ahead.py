"""The next row's tensors are made while this one is computed: a GPU's queue runs dry at the end of each backward."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from trainer.layouts import Batch

Row = TypeVar("Row")


def ahead(rows: Sequence[Row], collated: Callable[[Row], Batch]) -> Iterator[tuple[Row, Batch]]:
    """Each row with its batch, in order; one batch is made in advance, by a thread."""
    with ThreadPoolExecutor(1, "collate") as maker:
        made = maker.submit(collated, rows[0]) if rows else None
        for number, row in enumerate(rows, start=1):
            assert made is not None
            batch = made.result()
            made = maker.submit(collated, rows[number]) if number < len(rows) else None
            yield row, batch
