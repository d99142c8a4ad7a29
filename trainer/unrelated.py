"""KTO's reference point z0: how far the policy has moved on answers that belong to other prompts.

KTO (Ethayarajh et al. 2024, arXiv:2402.01306, section 4.1) compares each reward with the KL divergence between policy
and reference, estimated from mismatched prompt and answer; no gradient flows through it. Here it is one number for the
whole global batch, from a pass before its first backward, so neither ranks nor rows change it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainer.course import Course
from trainer.layouts import collate
from trainer.losses import kl
from trainer.rows import plan


def estimate(course: Course, batch: Sequence[int]) -> Tensor:
    """0-dim, fp32: max(0, mean h) over the mismatched answers of the batch's examples."""
    spec, world, mismatched = course.spec, course.world, course.data.mismatched
    total = torch.zeros(2, dtype=torch.float64, device=world.device)
    boundary = course.engine.scorer.boundary
    for row in plan(batch, mismatched.examples, course.layout, world.rank, world.size, spec.row_tokens, boundary):
        policy = course.engine.score_only(collate(mismatched.pick(row.examples), course.layout, world.device))
        if row.weight:
            reference = course.reference.mismatched[mismatched.numbers(row.examples)].to(world.device)
            h = (policy - reference)[:, 0].double()
            total += torch.stack([h.sum(), torch.tensor(float(len(h)), dtype=torch.float64, device=world.device)])
    moved, count = world.sum(total).tolist()
    return kl(torch.tensor([moved / count])).float()
