"""What a run settles before anything else."""

import torch

from trainer import seed


def test_sums_of_bf16_products_stay_fp32_until_they_are_whole() -> None:
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = True
    seed.settle(3)
    assert torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction is False


def test_what_is_drawn_anew_is_of_the_seed_the_step_and_the_rank() -> None:
    drawn = {}
    for where in ((1, 2, 0), (1, 2, 1), (1, 3, 0), (2, 2, 0)):
        seed.anew(*where)
        first = torch.rand(4).tolist()
        seed.anew(*where)
        assert torch.rand(4).tolist() == first
        drawn[where] = tuple(first)
    assert len(set(drawn.values())) == len(drawn)
