"""Losses that must be one another in special cases, whatever the numbers."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scores import auto, make_scores
from trainer.losses import Scores, loss, preference

nats = st.floats(-200, -0.1)
pairs = st.lists(st.tuples(nats, nats), min_size=3, max_size=3).map(lambda rows: [list(row) for row in rows])
betas = st.sampled_from([0.01, 0.1, 1.0])
steady = settings(max_examples=60, deadline=None, derandomize=True)


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def swapped(scores: Scores) -> Scores:
    return scores._replace(policy=scores.policy.flip(1), reference=scores.reference.flip(1))


@steady
@given(pairs, pairs, betas)
def test_labels_that_are_half_wrong_say_nothing(policy: list[list[float]], reference: list[list[float]], beta: float):
    scores, chosen = make_scores(policy=policy, reference=reference), auto("sigmoid", beta=beta, label_smoothing=0.5)
    close(preference(scores, chosen), preference(swapped(scores), chosen))


@steady
@given(pairs, pairs, betas, st.floats(0, 0.4))
def test_smoothing_is_confidence(policy: list[list[float]], reference: list[list[float]], beta: float, e: float):
    """A label that is wrong with chance e, and one that is right with chance 1 - e."""
    scores = make_scores(policy=policy, reference=reference)
    close(
        preference(scores, auto("sigmoid", beta=beta, label_smoothing=e)),
        preference(scores._replace(confidence=torch.full_like(scores.weight, 1 - e)), auto("sigmoid", beta=beta)),
    )


@steady
@given(pairs, pairs, betas)
def test_a_list_of_two_is_a_pair(policy: list[list[float]], reference: list[list[float]], beta: float):
    scores = make_scores(policy=policy, reference=reference)
    expected = preference(scores, auto("sigmoid", beta=beta))
    close(preference(scores, auto("s_dpo", beta=beta)), expected)
    close(preference(scores, auto("plackett_luce", beta=beta)), expected)


@steady
@given(pairs, pairs, betas)
def test_special_settings_are_plain_dpo(policy: list[list[float]], reference: list[list[float]], beta: float):
    scores = make_scores(policy=policy, reference=reference)
    expected = preference(scores, auto("sigmoid", beta=beta))
    close(preference(scores, auto("robust", beta=beta, label_smoothing=0.0)), expected)
    close(preference(scores, auto("dpop", beta=beta, dpop_lambda=0.0)), expected)
    close(preference(scores, auto("ld", beta=beta, ld_alpha=1.0)), expected)
    close(
        preference(scores._replace(lengths=torch.ones_like(scores.lengths)), auto("sigmoid_norm", beta=beta)), expected
    )


@steady
@given(pairs, pairs, st.floats(0.05, 0.4))
def test_robust_undoes_flipped_labels(policy: list[list[float]], reference: list[list[float]], e: float):
    """Its mean over a share e of flipped labels is the loss of the true ones."""
    scores, chosen = make_scores(policy=policy, reference=reference), auto("robust", label_smoothing=e)
    noisy = (1 - e) * preference(scores, chosen) + e * preference(swapped(scores), chosen)
    close(noisy, preference(scores, auto("sigmoid", beta=chosen.beta)))


@steady
@given(st.permutations(range(1, 5)), st.lists(nats, min_size=5, max_size=5), betas)
def test_the_order_of_the_others_does_not_matter_to_s_dpo(order: list[int], policy: list[float], beta: float):
    def scored(numbers: list[int]) -> torch.Tensor:
        row = [policy[k] for k in numbers]
        there = torch.ones(3, 5, dtype=torch.bool)
        scores = make_scores(policy=[row] * 3, reference=torch.zeros(3, 5), there=there)
        return preference(scores, auto("s_dpo", beta=beta))

    close(scored([0, *order]), scored([0, 1, 2, 3, 4]))


@steady
@given(
    st.lists(nats, min_size=5, max_size=5),
    st.integers(2, 4),
    betas,
    st.sampled_from(["s_dpo", "plackett_luce"]),
    st.floats(-1e4, 1e4),
)
def test_answers_that_are_not_there_change_nothing(policy, count, beta, name, rubbish):  # type: ignore[no-untyped-def]
    def scored(row: list[float], there: list[bool]) -> torch.Tensor:
        width = len(row)
        scores = make_scores(
            policy=[row] * 3, reference=torch.zeros(3, width), lengths=torch.ones(3, width), there=[there] * 3
        )
        return loss(scores, auto(name, beta=beta, nll_weight=0.3))

    short = scored(policy[:count], [True] * count)
    close(scored([*policy[:count], *[rubbish] * (5 - count)], [k < count for k in range(5)]), short)
