"""What the worker hands the trainer: one JSON file, nothing left `auto`, local paths only."""

from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from core.contract.finding import Finding
from core.contract.losses import LossName
from core.contract.preview import Preview

# What becomes of two answers of which neither is better, and of the votes beside a pair (trainer.examples).
Ties = Literal["drop", "half"]
Annotators = Literal["ignore", "confidence"]


class Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    v: Literal[1] = 1


class Lora(BaseModel):
    """Low-rank adaptation (Hu et al. 2021): W + alpha / r x B A. `target_modules` None: all linear layers but the head.

    `dropout` is the only dropout of a run.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    r: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    target_modules: list[str] | None = None


class Settings(BaseModel):
    """The resolved settings of a run. Lengths in tokens, batch_size in examples (mostly pairs) a global batch.

    A setting that the loss does not use keeps its default (core.contract.losses says which it uses).
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    loss: LossName = "sigmoid"
    beta: float = 0.1
    label_smoothing: float = 0.0
    nll_weight: float = 0.0
    margin_weight: float = 0.0
    simpo_gamma_ratio: float = 0.5
    ld_alpha: float = 0.5
    dpop_lambda: float = 50.0
    orpo_lambda: float = 0.1
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0
    lora: Lora | None = None
    learning_rate: float = 1e-6
    lr_schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_ratio: float = 0.1
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    n_epochs: int = 1
    batch_size: int = 1
    max_steps: int | None = None
    max_length: int = 2048
    truncation: Literal["drop", "keep_end", "error"] = "drop"
    precision: Literal["fp32", "bf16"] = "fp32"
    optimizer: Literal["adamw"] = "adamw"
    ties: Ties = "drop"
    annotators: Annotators = "ignore"


class ResumeFrom(BaseModel):
    """A resume point that the worker fetched and verified; `files` in its manifest are what may be unpickled."""

    model_config = ConfigDict(extra="forbid")

    path: Path
    manifest_digest: str


class Unverified(BaseModel):
    """The finished model of this run, stored by an attempt that did not come to verify it. Its manifest's `proof` is
    what it is verified by (trainer.proof).
    """

    model_config = ConfigDict(extra="forbid")

    path: Path
    manifest_digest: str


class RunSpec(Spec):
    """One attempt. `row_tokens`: at most so many tokens are fed in one forward of a rank (one example may need more);
    `checkpoint_steps` and `eval_steps` are intervals. `recompute`: activations are computed again in the backward pass.
    `held_out_share` of the training examples is held out, by prompt, where there is no `eval_data` (trainer.split).

    device: what planning believed this node to have; a rank that finds less ends at once. None: whatever there is.

    clock: what a chat template that asks for the time is told, the same in every attempt: the job's creation, in UTC.

    `reference_key` names the reference (weights, dtype, scorer version); `reference_entries` are files of earlier
    runs under that key, in which log-probabilities are looked up by the tokens they belong to.

    resume_spacing: who stores the resume points names the newest that it has stored or given up in the workspace's
    `stored`; until then none is due, nor before so many times the seconds that this took. None: nobody stores them.

    Layout of `workspace` (made by the worker, filled by the trainer):
    events.jsonl, stop (made by the worker: one word, cancel, drain or finish), stored (made by the worker: a step),
    ranks/N.json {pid, start_time},
    logs/rank-N.log, checkpoints/step-N/, resume/step-N/, reference/new/ (sealed = renamed from NAME.tmp, holding
    manifest.json), verify/step-N/ (a sealed model under second names).
    """

    run_id: str = Field(description="names the rendezvous, never anything exported")
    workspace: Path
    model_dir: Path
    model_digest: str
    # As Palate knows it; exported adapters name it as their base.
    model_name: str | None = None
    train_data: Path
    train_digest: str
    eval_data: Path | None = None
    eval_digest: str | None = None
    held_out_share: float = 0.0
    world_size: int = 1
    device: Literal["cpu", "cuda"] | None = None
    seed: int = 0
    settings: Settings
    row_tokens: int = 8192
    recompute: bool = False
    layout: Literal["auto", "shared", "packed", "padded"] = "auto"
    reference_key: str = ""
    reference_entries: list[Path] = []
    export: list[Literal["model", "adapter"]] = ["model"]
    checkpoint_steps: int | None = Field(default=None, description="None: at each epoch's end")
    eval_steps: int | None = Field(default=None, description="None: with each checkpoint")
    resume_steps: int = 50
    resume_seconds: float = 300.0
    resume_spacing: float | None = None
    probe_prompts: list[str] = []
    clock: datetime | None = Field(default=None, description="None: the start of the run")
    shard_bytes: int = 2 << 30
    resume_from: ResumeFrom | None = None
    unverified: Unverified | None = Field(default=None, description="nothing is trained: this model is verified")


class InspectSpec(Spec):
    """Tokenise and render on CPU, before a rank starts: `python -m trainer inspect --spec`. Writes an Inspection."""

    model_dir: Path
    data: Path
    max_length: int | None = Field(default=None, description="None: min(context of the model, 2048)")
    truncation: Literal["drop", "keep_end", "error"] = "drop"
    loss: LossName = Field(default="sigmoid", description="decides what an example is made of")
    ties: Ties = "drop"
    out: Path
    memory_bytes: int = Field(default=0, description="limit of the address space; 0 for none")


class RowProblem(BaseModel):
    """A record that falls out: `line` of the uploaded file."""

    line: int
    code: str
    message: str


class Lengths(BaseModel):
    """Tokens, nearest rank."""

    median: int
    p95: int
    max: int


class Fed(BaseModel):
    """Tokens that a layout feeds: of all usable examples once, without padding between them; of the largest one."""

    tokens: int
    largest: int


# Raised when the same records become other tokens, or others of them fall out.
RENDERER_VERSION = 2


class Inspection(BaseModel):
    """What a run will see. `usable` examples (pairs, lists or single answers, as the loss wants) of `records`.

    `fatal` refuses the job: code, message, param, line.
    """

    model_config = ConfigDict(extra="ignore")

    v: Literal[1] = 1
    records: int
    usable: int
    max_length: int
    context_length: int
    problems: list[RowProblem] = Field(default=[], description="the first 1,000")
    problem_counts: dict[str, int] = {}
    lengths: dict[str, Lengths] = Field(default={}, description="prompt, chosen, rejected, pair")
    histogram: list[tuple[int, int]] = Field(default=[], description="(upper bound of prompt + longer answer, pairs)")
    tokens: int = Field(default=0, description="of all usable examples: each answer with its prompt")
    fed: dict[Literal["shared", "packed", "padded"], Fed] = Field(default={}, description="what each layout feeds")
    scored_tokens: int = Field(default=0, description="of all usable examples: those that the loss sees")
    answers: int = Field(default=0, description="sequences of all usable examples")
    squares: int = Field(default=0, description="sum over all answers of (tokens of prompt + answer) squared")
    ties: int = Field(default=0, description="left out: two equal answers of which the job makes nothing")
    checks: list[Finding] = Field(default=[], description="of the report, those that need the tokenizer")
    previews: list[Preview] = Field(default=[], description="20 records, token by token")
    fatal: "Fatal | None" = None

    @field_validator("previews", mode="before")
    @classmethod
    def of_this_shape(cls, kept: list[Any]) -> list[Any]:
        """Those of rows from before they had it are left out."""
        return [each for each in kept if isinstance(each, Preview) or "answers" in each]

    @property
    def dropped(self) -> int:
        """Records that fell out."""
        return sum(self.problem_counts.values())

    @property
    def left_out(self) -> str:
        """How many records, and why: `3 records left out (too_long: 2, special_token_in_text: 1)`."""
        reasons = sorted(self.problem_counts.items(), key=lambda each: (-each[1], each[0]))
        why = f" ({', '.join(f'{code}: {count:,}' for code, count in reasons)})" if reasons else ""
        ties = f" and {self.ties:,} ties" if self.ties else ""
        return f"{self.dropped:,} records{ties} left out{why}"


class Fatal(BaseModel):
    code: str
    message: str
    param: str | None = None
    line: int | None = None


Inspection.model_rebuild()
