"""Stochastic rounding: unbiased, the same bits however the elements are cut, and nothing changes that bf16 has."""

import torch
from torch import Tensor

from trainer.rounding import CHUNK, Draws, hashes, rounded, variance

DRAWS = Draws((7, "layers.3.weight", 12))


def values(count: int = 2 * CHUNK + 77) -> Tensor:
    torch.manual_seed(1)
    return 0.05 * torch.randn(count)


def test_on_average_nothing_is_lost() -> None:
    """Of moves of a hundredth of a unit and less, of which rounding to nearest keeps nothing."""
    base = values().bfloat16().float()
    for size in (1e-5, 1e-6):
        moved = base + size * torch.sign(torch.randn_like(base))
        change = (moved - base).double()
        kept = ((rounded(moved, DRAWS).float() - base).double() * change).sum() / change.square().sum()
        lost = ((moved.bfloat16().float() - base).double() * change).sum() / change.square().sum()
        assert abs(float(kept) - 1) < 0.1
        assert float(lost) < 0.2


def test_an_element_is_rounded_to_itself_on_average_over_seeds() -> None:
    x = torch.tensor([1.0 + 2**-9, 1.0 + 2**-10, -(1.0 + 3 * 2**-10), 3e-5, 7.77e-15])
    found = torch.stack([rounded(x, Draws((seed, "w", 1))) for seed in range(4_000)]).double()
    # A unit of bf16 here is 2^-7 of the value: draws differ by less, and their mean by 1/60 of that.
    unit = x.abs().double() * 2**-7
    assert torch.all((found.mean(0) - x.double()).abs() < 4 * unit / 4_000**0.5)
    assert torch.all(found.amax(0) > found.amin(0)), "each goes both ways"
    torch.testing.assert_close(found.var(0), variance(x).double(), rtol=0.15, atol=0.0)


def test_only_to_a_neighbour_and_never_over_zero() -> None:
    x = values()
    found = rounded(x, DRAWS).float()
    bits = x.view(torch.int32) & -65536
    assert torch.all((found == bits.view(torch.float32)) | (found == (bits + 65536).view(torch.float32)))
    assert torch.equal(found.signbit(), x.signbit())


def test_what_bf16_has_stays() -> None:
    special = [0.0, -0.0, float("inf"), float("-inf"), 3.3895313892515355e38, 1e-40]
    for x in (values().bfloat16().float(), torch.tensor(special).bfloat16().float()):
        assert torch.equal(rounded(x, DRAWS).view(torch.int16), x.bfloat16().view(torch.int16))
    every_nan = torch.tensor([0x7F800001, 0x7FFFFFFF, -1, 0x7FC00000], dtype=torch.int32).view(torch.float32)
    assert rounded(every_nan, DRAWS).isnan().all()


def test_the_same_bits_however_the_elements_are_cut() -> None:
    x = values()
    whole = rounded(x, DRAWS)
    for cut in (1, 2, 3, 5_001, CHUNK, CHUNK + 1):
        parts = [rounded(x[:cut], DRAWS), rounded(x[cut:], DRAWS, start=cut)]
        assert torch.equal(torch.cat(parts), whole), cut
    assert torch.equal(rounded(x.view(7, -1) if len(x) % 7 == 0 else x.view(1, -1), DRAWS).flatten(), whole)


def test_seed_name_and_step_each_draw_anew() -> None:
    x = values()
    one = rounded(x, DRAWS)
    for what in ((8, "layers.3.weight", 12), (7, "layers.4.weight", 12), (7, "layers.3.weight", 13)):
        other = rounded(x, Draws(what))
        assert 0.2 < float((one != other).float().mean()) < 0.45, "a third of the elements falls the other way"


def test_the_draws_are_even_and_know_nothing_of_their_neighbours() -> None:
    ramp = torch.arange(1 << 19, dtype=torch.int32)
    drawn = (hashes(ramp, 5, DRAWS).view(torch.int16).int() & 0xFFFF).double()
    counts = torch.bincount(drawn.long() >> 8, minlength=256).double()
    assert float(((counts - 4_096).square() / 4_096).sum()) / 255 < 1.3
    centred = drawn / 65_536 - 0.5
    for lag in (1, 2, 3, 64, 576, 1_536):
        assert abs(float((centred[:-lag] * centred[lag:]).mean() * 12)) < 0.005, lag
    later = (
        hashes(ramp, 5, Draws((7, "layers.3.weight", 13))).view(torch.int16).int() & 0xFFFF
    ).double() / 65_536 - 0.5
    assert abs(float((centred * later).mean() * 12)) < 0.005


def test_elements_behind_2_to_the_32_have_draws_too() -> None:
    x = values(1_000)
    assert not torch.equal(rounded(x, DRAWS, start=1 << 32), rounded(x, DRAWS))
    assert torch.equal(
        rounded(x, DRAWS, start=(1 << 32) + 1)[:-1], rounded(torch.cat([x[:1], x]), DRAWS, start=1 << 32)[1:-1]
    )
