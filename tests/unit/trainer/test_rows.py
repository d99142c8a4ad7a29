from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from trainer.data import Example
from trainer.layouts import Layout, fed
from trainer.render import Answer
from trainer.rows import plan

layouts = st.sampled_from(["shared", "packed", "padded"])
shapes = st.lists(st.tuples(st.integers(1, 20), st.lists(st.integers(1, 30), min_size=1, max_size=4)), max_size=25)
Shapes = list[tuple[int, list[int]]]


def made(shapes: Shapes) -> list[Example]:
    """(prompt's tokens, each answer's tokens)"""
    return [
        Example(str(i), i, prefix, tuple(Answer((1,) * (prefix + n), ((prefix, prefix + n),)) for n in answers))
        for i, (prefix, answers) in enumerate(shapes)
    ]


def cost(examples: list[Example], layout: Layout) -> int:
    if layout == "padded":
        return (max(e.longest for e in examples) - 1) * sum(len(e.answers) for e in examples)
    return sum(fed(e, layout) for e in examples)


@given(shapes, layouts, st.integers(1, 5), st.integers(1, 120))
def test_every_example_once_within_the_budget_and_all_ranks_in_step(
    shapes: Shapes, layout: Layout, ranks: int, budget: int
) -> None:
    examples = made(shapes)
    hands = [plan(range(len(examples)), examples, layout, rank, ranks, budget) for rank in range(ranks)]
    assert len({len(rows) for rows in hands}) == 1
    counted = Counter(i for rows in hands for row in rows if row.weight for i in row.examples)
    assert counted == Counter(range(len(examples)))
    for rows in hands:
        for row in rows:
            assert len(row.examples) == 1 or cost([examples[i] for i in row.examples], layout) <= budget
    assert hands == [plan(range(len(examples)), examples, layout, rank, ranks, budget) for rank in range(ranks)]


@given(shapes, layouts, st.integers(1, 60))
def test_no_row_crosses_a_boundary(shapes: Shapes, layout: Layout, boundary: int) -> None:
    examples = made(shapes)
    for row in plan(range(len(examples)), examples, layout, 0, 1, 500, boundary):
        assert len({examples[i].longest > boundary for i in row.examples}) == 1


def test_what_an_example_feeds() -> None:
    """A prompt of 5 and answers of 3 and 4 tokens; the last token of an answer is only a target."""
    (example,) = made([(5, [3, 4])])
    assert (fed(example, "shared"), fed(example, "packed")) == (5 + 2 + 3, 7 + 8)


def test_ranks_get_even_rows() -> None:
    """30 equal pairs for two ranks: two rows of 15, not one full row, one of the rest."""
    examples = made([(5, [3, 4])] * 30)
    rows = [row for rank in (0, 1) for row in plan(range(30), examples, "shared", rank, 2, 250)]
    assert [len(row.examples) for row in rows] == [15, 15]
