"""Which blocks FlexAttention looks at, and that no use of it outruns torch's limit of compiled variants.

Without a GPU: the block mask is compared with torch's own, and the compiler's front half runs with the back half left
out. That Triton's kernels are right is for tests/gpu to show.
"""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import flex_attention as torchs

from core.contract.exits import Exit
from tests.conftest import ROOT
from trainer import compiles, flex
from trainer.attention import Attending, explicit, flexed, visible
from trainer.failures import judge
from trainer.layouts import plant

CPU = torch.device("cpu")


def drawn(draw: random.Random, most: int) -> list[tuple[int, ...]]:
    trees = []
    while sum(map(sum, trees)) < most:
        trunk = draw.choice([0, 1, 5, draw.randint(1, 400)])
        trees.append((trunk, *(draw.choice([1, 2, draw.randint(1, 300)]) for _ in range(draw.randint(0, 4)))))
    return [tree for tree in trees if sum(tree)]


def dense(mask: torchs.BlockMask) -> tuple[list[list[int]], list[list[int]]]:
    """Partial and full blocks of each row of blocks, in order."""

    def rows(counts: torch.Tensor | None, order: torch.Tensor | None) -> list[list[int]]:
        assert counts is not None
        assert order is not None
        return [row[:n].tolist() for row, n in zip(order[0, 0], counts[0, 0].tolist(), strict=True)]

    return rows(mask.kv_num_blocks, mask.kv_indices), rows(mask.full_kv_num_blocks, mask.full_kv_indices)


@pytest.mark.parametrize("window", [None, 1, 50, 128, 300])
@pytest.mark.parametrize("seed", range(12))
def test_the_blocks_are_those_that_torch_finds(seed: int, window: int | None) -> None:
    draw = random.Random(seed)
    trees = drawn(draw, draw.choice([1, 127, 128, 129, 700, 1_500]))
    documents = plant(trees, CPU)
    sees = visible(documents, window)
    length = len(documents.document)
    expected = torchs.create_block_mask(lambda b, h, q, k: sees(q, k), None, None, length, length, "cpu")
    found = flex.blocks(trees, window, sees, CPU)
    assert dense(found) == dense(expected)
    assert found.seq_lengths == expected.seq_lengths
    for name in ("q_num_blocks", "full_q_num_blocks"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    assert torch.equal(found.to_dense(), expected.to_dense())


@pytest.mark.filterwarnings("ignore:flex_attention called without:UserWarning")
@pytest.mark.parametrize("times", [1, 3, 5, 7])
@pytest.mark.parametrize("window", [None, 50])
def test_it_attends_as_written_out(times: int, window: int | None) -> None:
    """Uncompiled, on a CPU: also where query heads are no power of two times those of the keys."""
    torch.manual_seed(0)
    row = Attending(plant([(100, 28, 60), (256,), (5, 1, 1, 300)], CPU))
    query, key, value = (torch.randn(1, heads, row.length, 16) for heads in (2 * times, 2, 2))
    with torch.no_grad():
        found = flexed(row, query, key, value, 0.25, window)
        expected = explicit(query, key, value, 0.25, row.dense(window), None, None).transpose(1, 2)
    assert torch.allclose(found, expected, atol=1e-5)


def test_long_rows_need_no_table_of_all_pairs() -> None:
    """65,536 tokens: 512 x 512 blocks, and no tensor with more than a few pieces squared."""
    trees = [(180, 300, 300)] * 84
    seen, whole = flex.tables(trees, None)
    assert seen.shape == (512, 512)
    assert 0 < int(whole.sum()) < int(seen.sum()) < 4_000


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What would be compiled for a GPU, compiled for none: dynamo's guards do not know the device."""
    from torch._dynamo.testing import CompileCounterWithBackend

    counter = CompileCounterWithBackend("eager")
    compiled, function = torch.compile, flex.function
    monkeypatch.setattr(torch, "compile", lambda f, **options: compiled(f, backend=counter, **options))
    monkeypatch.setattr(torchs, "_validate_device", lambda *_: None)
    monkeypatch.setattr(flex, "function", lambda device, *use: function("cuda", *use))
    function.cache_clear()
    torch._dynamo.reset()
    yield counter
    function.cache_clear()
    torch._dynamo.reset()


def rows_of_many_lengths() -> None:
    """With gradients and without, with a window, a cap, both and neither; each as written out."""
    draw = random.Random(1)
    for _ in range(12):
        row = Attending(plant(drawn(draw, draw.choice([60, 400, 900])), CPU))
        for graph in (True, False):
            query, key, value = (torch.randn(1, heads, row.length, 16) for heads in (4, 2, 2))
            for part in (query, key, value):
                part.requires_grad_(graph)
            for window in (None, 50):
                for softcap in (None, 5.0):
                    with torch.set_grad_enabled(graph):
                        found = flexed(row, query, key, value, 0.25, window, softcap)
                    expected = explicit(query, key, value, 0.25, row.dense(window), softcap, None).transpose(1, 2)
                    assert torch.allclose(found, expected, atol=1e-4)


def test_layers_with_and_without_a_window_stay_compiled(counted: Any) -> None:
    """Eight uses of four variants; a ninth of one code object would raise, and without `fullgraph` run uncompiled."""
    rows_of_many_lengths()
    assert 8 < counted.frame_count <= 8 * 5


def test_one_code_object_for_all_uses_is_too_few(counted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.exc import FailOnRecompileLimitHit

    monkeypatch.setattr(flex, "copied", lambda original, name: original)
    with pytest.raises(FailOnRecompileLimitHit):
        rows_of_many_lengths()


FAILS = """
import os, sys, torch
os.environ["PATH"] = sys.argv[1]
from trainer import compiles, flex
from trainer.failures import judge
function = flex.function
flex.function = lambda device, *use: function("cuda", *use)
found = compiles.tried(torch.device("cpu"))
print("fine" if found is None else judge(found))
"""


@pytest.mark.parametrize("compiler", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_node_without_a_compiler_is_told_so(tmp_path: Path, compiler: bool) -> None:
    """By torch's own compiler, for a CPU: what it takes of a node is the same."""
    path = os.environ["PATH"] if compiler else str(tmp_path)
    known = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", FAILS, path], cwd=ROOT, env=known, capture_output=True, text=True, check=False
    )
    told = done.stdout.splitlines()[-1] if done.stdout else done.stderr
    if compiler:
        assert told == "fine"
    else:
        assert "code='no_compiler'" in told
        assert "Exit.INFRASTRUCTURE" in told


def test_what_a_compiler_says_besides_is_the_nodes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> object:
        raise RuntimeError("PassManager::run failed\nmany lines")

    monkeypatch.setattr(compiles, "flexed", broken)
    verdict = judge(compiles.tried(CPU) or AssertionError())
    assert (verdict.exit, verdict.code) == (Exit.INFRASTRUCTURE, "not_compiled")
    assert "PassManager::run failed. The rank" in verdict.message
