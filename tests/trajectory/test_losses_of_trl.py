"""Our losses are TRL's wherever trainer.md says that they must be: TRL's own trainer on the same tokens, to 1e-6."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from core.contract.losses import LOSSES
from core.contract.run_spec import Settings
from trainer.collection import scores
from trainer.data import Example
from trainer.layouts import collate
from trainer.losses import Scores, kl, loss, negative_log_likelihood, preference
from trainer.render import Answer
from trainer.scorer import Scorer

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
PREFIX = 6


def llama(seed: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=80, initializer_range=0.2, **sizes)).eval()


@pytest.fixture(scope="module")
def example() -> Example:
    draw = torch.Generator().manual_seed(0)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, 80, (count,), generator=draw).tolist())

    prompt = ids(PREFIX)
    answers = tuple(Answer(prompt + ids(n), ((PREFIX, PREFIX + n),)) for n in (7, 4))
    return Example("e", 1, PREFIX, answers)


@pytest.fixture(scope="module")
def peer(example: Example, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    from tests.models import make_tokenizer

    class Given(DPOTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

    chosen, rejected = (list(answer.ids[PREFIX:]) for answer in example.answers)
    rows = [{"prompt_ids": list(example.answers[0].ids[:PREFIX]), "chosen_ids": chosen, "rejected_ids": rejected}]
    arguments = DPOConfig(
        output_dir=str(tmp_path_factory.mktemp("trl")), report_to=[], use_cpu=True, bf16=False,
        gradient_checkpointing=False, per_device_train_batch_size=1,
    )  # fmt: skip
    trainer = Given(
        model=llama(1), ref_model=llama(2), args=arguments, train_dataset=Dataset.from_list(rows),
        processing_class=make_tokenizer(),
    )  # fmt: skip
    trainer.inputs = trainer.data_collator(rows)
    return trainer


@pytest.fixture(scope="module")
def ours(example: Example) -> Scores:
    batch = collate([example], "shared", torch.device("cpu"))
    with torch.no_grad():
        return scores([example], Scorer(llama(1))(batch), Scorer(llama(2))(batch))


def settings(name: str, **given: Any) -> Settings:
    return Settings(loss=name, **{**LOSSES[name].auto, **given})  # type: ignore[index,arg-type]


SAME = [
    "sigmoid", "sigmoid_norm", "robust", "hinge", "ipo", "apo_zero", "apo_down", "nca_pair", "bco_pair", "sppo_hard",
    "exo_pair",
]  # fmt: skip


def theirs(peer: Any, names: list[str], chosen: Settings, weights: list[float] | None = None, **more: Any) -> float:
    peer.loss_types, peer.loss_weights = names, weights or [1.0] * len(names)
    peer.beta, peer.label_smoothing = chosen.beta, chosen.label_smoothing
    peer.ld_alpha = more.get("ld_alpha")
    with torch.no_grad():
        return float(peer.compute_loss(peer.model.eval(), dict(peer.inputs)))


@pytest.mark.parametrize("name", SAME)
def test_pairwise(peer: Any, ours: Scores, name: str) -> None:
    chosen = settings(name)
    expected = theirs(peer, [name], chosen)
    assert float(preference(ours, chosen)) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_ld(peer: Any, ours: Scores) -> None:
    expected = theirs(peer, ["sigmoid"], settings("ld"), ld_alpha=0.3)
    assert float(preference(ours, settings("ld", ld_alpha=0.3))) == pytest.approx(expected, abs=1e-6)
    assert abs(expected - theirs(peer, ["sigmoid"], settings("ld"))) > 1e-3


def test_rpo_at_one_pair_a_batch(peer: Any, ours: Scores) -> None:
    chosen = settings("sigmoid", nll_weight=0.7)
    expected = theirs(peer, ["sigmoid", "sft"], chosen, [1.0, 0.7])
    assert float(loss(ours, chosen)) == pytest.approx(expected, rel=1e-6)


def test_trl_ignores_label_smoothing_in_sigmoid_and_we_do_not(peer: Any, ours: Scores) -> None:
    smooth = settings("sigmoid", label_smoothing=0.3)
    assert theirs(peer, ["sigmoid"], smooth) == theirs(peer, ["sigmoid"], settings("sigmoid"))
    assert float(preference(ours, smooth)) != pytest.approx(theirs(peer, ["sigmoid"], smooth), abs=1e-3)


def test_simpo_is_cpo_without_its_nll(ours: Scores) -> None:
    from trl.experimental.cpo.cpo_trainer import CPOTrainer

    chosen = settings("simpo")
    means = ours.policy / ours.lengths
    themselves = SimpleNamespace(
        alpha=0.0, beta=chosen.beta, simpo_gamma=chosen.simpo_gamma_ratio * chosen.beta, label_smoothing=0.0,
        loss_type="simpo", accelerator=SimpleNamespace(device="cpu"),
    )  # fmt: skip
    expected = CPOTrainer.cpo_loss(themselves, means[:, 0], means[:, 1])[0]
    assert preference(ours, chosen).tolist() == pytest.approx(expected.tolist(), rel=1e-6)


def test_orpo_s_odds(ours: Scores) -> None:
    """Its NLL covers the prompt in TRL, ours the completion: only the odds are compared."""
    from trl.experimental.orpo.orpo_trainer import ORPOTrainer

    chosen = settings("orpo")
    means = ours.policy / ours.lengths
    themselves = SimpleNamespace(beta=chosen.orpo_lambda, accelerator=SimpleNamespace(device="cpu"))
    expected = -ORPOTrainer.odds_ratio_loss(themselves, means[:, 0], means[:, 1])[0]
    odds = preference(ours, chosen) - negative_log_likelihood(ours)
    assert odds.tolist() == pytest.approx(expected.tolist(), rel=1e-5, abs=1e-6)


def test_kto(tmp_path: Path) -> None:
    """One batch that is the whole global batch: its z0 is then ours, over answers shifted by one prompt."""
    from datasets import Dataset
    from trl import KTOConfig, KTOTrainer

    from tests.models import make_tokenizer

    class Given(KTOTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

    draw = torch.Generator().manual_seed(1)
    prompts, answers = ([torch.randint(3, 80, (n,), generator=draw).tolist() for n in (5, 7, 4)] for _ in range(2))
    labels = [True, False, True]
    rows = [
        {
            "prompt_ids": prompts[i],
            "completion_ids": answers[i],
            "KL_completion_ids": answers[i - 1],
            "label": labels[i],
        }
        for i in range(3)
    ]
    arguments = KTOConfig(
        output_dir=str(tmp_path), report_to=[], use_cpu=True, bf16=False, gradient_checkpointing=False,
        per_device_train_batch_size=3, beta=0.3, desirable_weight=1.5, undesirable_weight=0.5,
    )  # fmt: skip
    trainer = Given(
        model=llama(1), ref_model=llama(2), args=arguments, train_dataset=Dataset.from_list(rows),
        processing_class=make_tokenizer(),
    )  # fmt: skip
    with torch.no_grad():
        expected = float(trainer.compute_loss(trainer.model.eval(), trainer.data_collator(rows)))

    def single(i: int, answer: list[int]) -> Example:
        prefix = len(prompts[i])
        own = Answer(tuple(prompts[i] + answer), ((prefix, prefix + len(answer)),))
        return Example(str(i), 1, prefix, (own,), label=labels[i])

    def scored(examples: list[Example], z0: torch.Tensor | None = None) -> Scores:
        batch = collate(examples, "padded", torch.device("cpu"))
        return scores(examples, Scorer(llama(1))(batch), Scorer(llama(2))(batch), z0)

    with torch.no_grad():
        z0 = kl(scored([single(i, answers[i - 1]) for i in range(3)]).h)
        ours = scored([single(i, answers[i]) for i in range(3)], z0)
    chosen = settings("kto", beta=0.3, desirable_weight=1.5, undesirable_weight=0.5)
    assert float(z0) > 0.1
    assert float(loss(ours, chosen).mean()) == pytest.approx(expected, abs=1e-6)
