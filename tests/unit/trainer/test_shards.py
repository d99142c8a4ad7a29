"""What is copied, and what is never unpickled."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from core.contract.manifest import ManifestMismatch
from trainer import shards


def test_a_copy_shares_nothing_and_keeps_kinds_and_shapes(tmp_path: Path) -> None:
    flat = torch.arange(1000.0)
    state: dict[str, Any] = {"view": flat[:10], "list": [flat[10:12]], "shape": torch.Size([2, 3]), "step": 4}
    copied = shards.host_copy(state)
    flat.zero_()
    assert copied["view"].tolist() == list(range(10))
    assert copied["list"][0].tolist() == [10.0, 11.0]
    assert (copied["shape"], type(copied["shape"]), copied["step"]) == (torch.Size([2, 3]), torch.Size, 4)
    assert copied["view"].untyped_storage().nbytes() == 40, "not the whole buffer that it was a view of"
    assert shards.held(copied) == 48


def test_host_memory_is_as_large_as_what_it_holds_and_used_again(tmp_path: Path) -> None:
    """As on a GPU, without its pinning: two shards of odd sizes, three resume points, not a byte more than one's."""
    flat = torch.arange(100_003, dtype=torch.float32)
    states: list[dict[str, Any]] = [
        {"view": flat[:70_001], "list": [flat[70_001:]], "none": flat[:0], "step": 4, "shape": torch.Size([2])},
        {"half": flat[:333].to(torch.bfloat16).view(3, 111).t(), "scalar": torch.tensor(7, dtype=torch.int64)},
    ]
    memory, places = shards.HostMemory(), set()
    for point in range(3):
        memory.begin()
        copied = [memory.copy(state) for state in states]
        places.add(tuple(each[name].data_ptr() for each, name in zip(copied, ("view", "half"), strict=True)))
        flat += 1
        assert torch.equal(copied[0]["list"][0], flat[70_001:] - 1)
        assert torch.equal(copied[1]["half"], states[1]["half"])
        assert (copied[1]["scalar"].item(), copied[1]["scalar"].shape) == (7, torch.Size([]))
        assert (copied[0]["step"], copied[0]["shape"], len(copied[0]["none"])) == (4, torch.Size([2]), 0)
        assert copied[0]["view"].untyped_storage().nbytes() == 4 * 70_001, "its own, not the whole piece"
        (path,) = shards.write([(tmp_path / f"{point}.pt", copied[0])])
        assert path.stat().st_size < flat.nbytes + 4096
        assert torch.equal(shards.read(path)["view"], flat[:70_001] - 1)
    assert len(places) == 1
    whole = flat.nbytes + states[1]["half"].nbytes + 8
    assert whole <= memory.bytes <= whole + 4 * shards.ALIGNED
    memory.begin()
    memory.copy({"more": torch.ones(200_000)})
    assert memory.bytes <= 800_000 + states[1]["half"].nbytes + 8 + 2 * shards.ALIGNED, "the smaller one is let go"


def test_a_shard_comes_back_as_it_was(tmp_path: Path) -> None:
    from deepspeed.runtime.fp16.loss_scaler import LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum

    path = tmp_path / "shard.pt"
    state = {"stage": ZeroStageEnum.weights, "scaler": LossScaler(1.0), "fp32": torch.ones(3)}
    assert shards.write([(path, state)]) == [path]
    with shards.distrust():
        found = shards.read(path)
    assert found["stage"] == ZeroStageEnum.weights
    assert found["scaler"].cur_scale == 1.0
    assert torch.equal(found["fp32"], state["fp32"])


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_shard_that_would_run_something_is_refused_unread(tmp_path: Path) -> None:
    path, crater = tmp_path / "shard.pt", tmp_path / "crater"
    torch.save({"state": Bomb(crater)}, path)
    for use in (shards.scan, shards.read):
        with pytest.raises(ManifestMismatch, match=r"posix\.mkdir"):
            use(path)
    with shards.distrust(), pytest.raises(pickle.UnpicklingError, match="Weights only"):
        torch.load(path, weights_only=False)  # as DeepSpeed's converter does
    assert not crater.exists()


def test_what_is_no_shard_at_all_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shard.pt"
    path.write_bytes(b"a pickle")
    with pytest.raises(ManifestMismatch, match=r"shard\.pt"):
        shards.read(path)
