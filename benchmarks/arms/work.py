"""The same work for every arm: real pairs, a model made here, and which pairs stand in which global batch."""

import gzip
import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.contract.losses import LossName
from core.contract.preference import Message, Origin, PreferenceRecord, RankingRecord
from demo import smollm2
from tests.models import CHAT_TEMPLATE, ROLES
from tests.pairs import write_records
from trainer.examples import answers

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "benchmarks"
CONTEXT = 2048


@dataclass(frozen=True)
class Work:
    """`data`: a short name (`records`) or a preference file's path. `longest`: pairs of more tokens are left out, so
    that no arm cuts one. `batch` in pairs a global batch. `lora`: its r, 0 for full weights.

    `pretraining`: steps of language modelling on the data's own text (both answers of every pair) before DPO. `real`:
    SmolLM2-135M-Instruct (demo.smollm2) in the place of a model made here.
    """

    data: str
    vocab: int
    hidden: int = 256
    layers: int = 4
    pairs: int = 64
    batch: int = 16
    longest: int = 1024
    learning_rate: float = 1e-5
    seed: int = 0
    pretraining: int = 0
    loss: LossName = "sigmoid"
    real: bool = False
    lora: int = 0


def records(name: str) -> Sequence[PreferenceRecord | RankingRecord]:
    """Of a file of ../shared/data, by its short name, or of any preference file by its path."""
    makers: dict[str, Callable[[], Sequence[PreferenceRecord | RankingRecord]]] = {
        "hh": hh,
        "lists": lists,
        "ultra": ultra,
        "tone": tone,
        "persona": persona,
    }
    return makers[name]() if name in makers else of_file(Path(name))


def record(number: int, prompt: list[tuple[str, str]], chosen: str, rejected: str) -> PreferenceRecord:
    turns: list[Any] = [Message(role=role, content=text) for role, text in prompt]
    said = [[Message(role="assistant", content=text.strip())] for text in (chosen, rejected)]
    origin = Origin(line=number + 1, format="benchmark")
    return PreferenceRecord(id=f"b{number}", prompt=turns, chosen=said[0], rejected=said[1], origin=origin)


def hh() -> list[PreferenceRecord]:
    """HH-like lengths: many turns, short answers."""
    return of_file(DATA / "hh-helpful.train.jsonl.gz")


def of_file(source_path: Path) -> list[PreferenceRecord]:
    """Of pairs, packed or not."""
    import io

    from preferences.check import check_file
    from trainer.records import read

    path = CACHE / f"{source_path.name.partition('.')[0]}.zst"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        packed = source_path.read_bytes()
        source = io.BytesIO(gzip.decompress(packed) if source_path.suffix == ".gz" else packed)
        report = check_file(source, canonical=out)
    assert report.error is None, report.error
    return [each for each in read(path) if isinstance(each, PreferenceRecord)]


def lists() -> list[RankingRecord]:
    """hh's prompts, each with its preferred answer and four that are not: its own, and those of three others."""
    known = hh()
    found = []
    for number, each in enumerate(known):
        others = [known[(number + step) % len(known)].rejected for step in (1, 2, 3)]
        answers = [each.chosen, each.rejected, *others]
        about = {"id": each.id, "prompt": each.prompt, "origin": each.origin}
        found.append(RankingRecord(**about, completions=answers, ranks=[1, 2, 2, 2, 2]))
    return found


def ultra() -> list[PreferenceRecord]:
    """Lengths as UltraFeedback's: short prompts, long answers."""
    rows = [json.loads(line) for line in (DATA / "orca-dpo.openai.jsonl").read_text().splitlines()]
    found = []
    for number, row in enumerate(rows):
        prompt = [(turn["role"], turn["content"]) for turn in row["input"]["messages"]]
        answers = [row[key][0]["content"] for key in ("preferred_output", "non_preferred_output")]
        found.append(record(number, prompt, *answers))
    return found


def tone() -> list[PreferenceRecord]:
    rows = json.loads((DATA / "instruction-preference.alpaca.json").read_text())
    return [
        record(i, [("user", f"{row['instruction']}\n{row['input']}".strip())], row["chosen"], row["rejected"])
        for i, row in enumerate(rows)
        if row["chosen"].strip() != row["rejected"].strip()
    ]


def persona() -> list[PreferenceRecord]:
    rows = [json.loads(line) for line in (DATA / "persona.interest-in-science.jsonl").read_text().splitlines()]
    return [
        record(i, [("user", row["question"])], row["answer_matching_behavior"], row["answer_not_matching_behavior"])
        for i, row in enumerate(rows)
    ]


def make_tokenizer(texts: Iterable[str], vocab: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    special = ["<s>", "<|end|>", "<pad>", *ROLES]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<s>",
        eos_token="<|end|>",
        pad_token="<pad>",
        additional_special_tokens=ROLES,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def model_folder(work: Work) -> Path:
    """A Llama with a tokenizer of the data, made once; of `vocab` rows, whatever the BPE found. Or the real model."""
    if work.real:
        return smollm2.folder()
    taught = f"-t{work.pretraining}" if work.pretraining else ""
    folder = CACHE / f"{work.data}-{work.hidden}x{work.layers}-v{work.vocab}{taught}"
    if (folder / "tokenizer.json").exists():
        return folder
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    texts = [turn.content or "" for r in records(work.data) for said in (r.prompt, *answers(r)) for turn in said]
    tokenizer = make_tokenizer(texts, min(work.vocab, 16_384))
    config = LlamaConfig(
        vocab_size=work.vocab,
        hidden_size=work.hidden,
        intermediate_size=work.hidden * 11 // 4,
        num_hidden_layers=work.layers,
        num_attention_heads=max(4, work.hidden // 64),
        num_key_value_heads=max(4, work.hidden // 64),
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    if work.pretraining:
        pretrain(model, tokenizer, records(work.data), work.pretraining)
    model.save_pretrained(folder)
    GenerationConfig(eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def pretrain(model: Any, tokenizer: Any, pool: Sequence[PreferenceRecord | RankingRecord], steps: int) -> None:
    """In place: blocks of 128 tokens of the conversations, 32 a step, whatever answer they end with."""
    import torch

    ids: list[int] = []
    for each in pool:
        for answer in answers(each):
            turns = [turn.model_dump(include={"role", "content"}) for turn in (*each.prompt, *answer)]
            ids += tokenizer(tokenizer.apply_chat_template(turns, tokenize=False), add_special_tokens=False).input_ids
    blocks = torch.tensor(ids[: len(ids) // 128 * 128]).view(-1, 128)
    draw = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95))
    slope = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / 20, 1 - step / steps))
    for _ in range(steps):
        batch = blocks[torch.randint(len(blocks), (32,), generator=draw)]
        model(input_ids=batch, labels=batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        slope.step()
        optimizer.zero_grad()


def fitting(work: Work, tokenizer: Any) -> list[PreferenceRecord | RankingRecord]:
    """`pairs` of those that fit, drawn by the seed."""
    from trainer.data import make_renderer, tokenise

    renderer = make_renderer(tokenizer, [])
    pool = list(records(work.data))
    random.Random(work.seed).shuffle(pool)
    found = []
    for each in pool:
        if tokenise(renderer, [each], work.longest, "drop", work.loss).examples:
            found.append(each)
        if len(found) == work.pairs:
            break
    return found


def data_file(work: Work, tokenizer: Any) -> tuple[Path, str]:
    """The canonical file that an arm reads, and its digest."""
    name = Path(work.data).name.partition(".")[0]
    path = CACHE / f"{name}-{work.pairs}-{work.longest}-{work.seed}-v{work.vocab}{'-real' * work.real}.zst"
    return path, write_records(path, fitting(work, tokenizer))
