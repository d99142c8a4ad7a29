"""What the user asked for: the body of POST /v1/fine_tuning/jobs, with every bound in one place."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from core.contract.losses import LossName
from core.contract.run_spec import Annotators, Ties

Auto = Literal["auto"]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class Strict(BaseModel):
    """Unknown keys are errors, numbers are not read from text, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


ModuleName = Annotated[
    str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$")
]


class LoraOptions(Strict):
    """Low-rank adaptation (Hu et al. 2021). auto: r 16, alpha 2 r, dropout 0, all linear layers but the head.

    target_modules: names of linear layers, or the ends of their names (`q_proj`).
    """

    r: Annotated[int, Field(ge=1, le=1024)] | Auto = "auto"
    alpha: Annotated[float, Field(gt=0, le=4096)] | Auto = "auto"
    dropout: Annotated[float, Field(ge=0, lt=1)] | Auto = "auto"
    target_modules: Annotated[list[ModuleName], Field(min_length=1, max_length=64)] | Auto = "auto"


class DpoHyperparameters(Strict):
    """Settings of the training itself. `auto` is resolved and echoed as a number when the run starts.

    beta, learning_rate, weight_decay: as in Rafailov et al. 2023; label_smoothing: the share of flipped labels
    (cDPO, Mitchell 2023); nll_weight: weight of the chosen answer's mean negative log-likelihood (RPO, Pang et al.
    2024); batch_size: preference pairs a global batch; max_length: tokens of prompt + answer. ties: `half` makes of two
    equal answers a pair of which either is better with P = 1/2, `drop` (auto) leaves them out; annotators: `confidence`
    makes their votes the record's soft label, `ignore` is auto (both: trainer.examples). Which of the settings a loss
    uses, and what `auto` is for it: core.contract.losses; where it needs a tighter bound: core.contract.choice.
    """

    beta: Annotated[float, Field(gt=0, le=100)] | Auto = "auto"
    batch_size: Annotated[int, Field(ge=1, le=256)] | Auto = "auto"
    n_epochs: Annotated[int, Field(ge=1, le=50)] | Auto = "auto"
    learning_rate_multiplier: Annotated[float, Field(gt=0, le=1000)] | Auto = "auto"
    learning_rate: Annotated[float, Field(gt=0, le=1)] | Auto = "auto"
    lr_schedule: Literal["linear", "cosine", "constant", "auto"] = "auto"
    warmup_ratio: Annotated[float, Field(ge=0, le=1)] | Auto = "auto"
    weight_decay: Annotated[float, Field(ge=0, le=1)] | Auto = "auto"
    max_grad_norm: Annotated[float, Field(ge=0, le=1000)] | Auto = "auto"
    max_steps: Annotated[int, Field(ge=1, le=1_000_000)] | Auto = "auto"
    loss: LossName | Auto = "auto"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] | Auto = "auto"
    nll_weight: Annotated[float, Field(ge=0, le=100)] | Auto = "auto"
    margin_weight: Annotated[float, Field(ge=0, le=100)] | Auto = "auto"
    simpo_gamma_ratio: Annotated[float, Field(ge=0, le=100)] | Auto = "auto"
    ld_alpha: Annotated[float, Field(ge=0, le=1)] | Auto = "auto"
    dpop_lambda: Annotated[float, Field(ge=0, le=1000)] | Auto = "auto"
    orpo_lambda: Annotated[float, Field(gt=0, le=100)] | Auto = "auto"
    desirable_weight: Annotated[float, Field(ge=0, le=1000)] | Auto = "auto"
    undesirable_weight: Annotated[float, Field(ge=0, le=1000)] | Auto = "auto"
    lora: LoraOptions | None = None
    max_length: Annotated[int, Field(ge=16, le=1_048_576)] | Auto = "auto"
    truncation: Literal["drop", "keep_end", "error", "auto"] = "auto"
    precision: Literal["fp32", "bf16", "auto"] = "auto"
    optimizer: Literal["adamw", "auto"] = "auto"
    ties: Ties | Auto = "auto"
    annotators: Annotators | Auto = "auto"


class DpoMethod(Strict):
    hyperparameters: DpoHyperparameters = DpoHyperparameters()


class Method(Strict):
    type: Literal["dpo"]
    dpo: DpoMethod = DpoMethod()


class LegacyHyperparameters(Strict):
    """The deprecated top-level object of the fine-tuning API."""

    batch_size: Annotated[int, Field(ge=1, le=256)] | Auto = "auto"
    n_epochs: Annotated[int, Field(ge=1, le=50)] | Auto = "auto"
    learning_rate_multiplier: Annotated[float, Field(gt=0, le=1000)] | Auto = "auto"


class Resources(Strict):
    """`gpus` = ranks = slots of a node."""

    gpus: Annotated[int, Field(ge=1, le=64)] | Auto = "auto"
    nodes: Annotated[int, Field(ge=1)] | Auto = "auto"


class CheckpointPolicy(Strict):
    """auto: at each epoch's end; `keep` of them, beside the best and the final one."""

    every_steps: Annotated[int, Field(ge=1, le=1_000_000)] | Auto = "auto"
    keep: Annotated[int, Field(ge=1, le=100)] = 3


class EvalPolicy(Strict):
    """split: the share of the training file's examples that is held out where no validation file is given, by whole
    prompts; auto: 5 %, at least 50 and at most 500 of them, from a file of 500 on; 0: none (planning.resolve).
    """

    every_steps: Annotated[int, Field(ge=1, le=1_000_000)] | Auto = "auto"
    split: Annotated[float, Field(ge=0, le=0.5)] | Auto = "auto"


class PalateOptions(Strict):
    """Everything about running a job that the fine-tuning API has no word for.

    export: `model` is the whole model (an adapter merged into it), `adapter` the LoRA weights alone; auto: of a LoRA
    run both, else the model (planning.resolve).
    max_runtime_seconds: of holding slots, over all attempts; the job then ends with the model of the step it is at.
    accept: codes of findings that block training (GET /v1/files/{id}/report) and that the user takes as they are.
    """

    resources: Resources = Resources()
    priority: Annotated[int, Field(ge=-100, le=100, description="Among the jobs of the same project.")] = 0
    max_runtime_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = None
    checkpoint: CheckpointPolicy = CheckpointPolicy()
    eval: EvalPolicy = EvalPolicy()
    export: Annotated[list[Literal["model", "adapter"]], Field(min_length=1, max_length=2)] | Auto = "auto"
    probe_prompts: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=8192)]], Field(max_length=8)
    ] = []
    accept: Annotated[list[Name], Field(max_length=64)] = []


MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]


class JobSpec(Strict):
    model: Name
    training_file: Name
    validation_file: Name | None = None
    suffix: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)] | None = None
    integrations: Annotated[list[Any], Field(max_length=0)] | None = None
    method: Method | None = None
    hyperparameters: LegacyHyperparameters | None = None
    palate: PalateOptions = PalateOptions()

    def dpo(self) -> DpoHyperparameters:
        """The settings of the training; the deprecated top-level ones serve where `method` is absent."""
        if self.method is not None:
            return self.method.dpo.hyperparameters
        if self.hyperparameters is not None:
            return DpoHyperparameters(**self.hyperparameters.model_dump())
        return DpoHyperparameters()
