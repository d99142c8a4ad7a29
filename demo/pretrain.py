"""The base model, made on the spot: a small Llama that has read as many intriguing stories as flat ones.

Nothing is downloaded: the vocabulary, the chat template and the weights come from the grammar and a fixed seed.
"""

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from demo import grammar, wording

PAD, USER, ASSISTANT, SYSTEM, END = "<|pad|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"
TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] not in ['system', 'user', 'assistant'] -%}"
    "{{- raise_exception('The storyteller knows the roles system, user and assistant only.') -}}"
    "{%- endif -%}"
    "{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)
IGNORED = -100

# (step, steps, loss) after each step.
Progress = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, beside the words and this file's own text."""

    seed: int = 7
    vocabulary: int = 1152
    width: int = 128
    layers: int = 3
    heads: int = 8
    context: int = 256
    steps: int = 540
    batch: int = 16
    learning_rate: float = 1e-2
    matrix_learning_rate: float = 0.02
    warmup: int = 20

    def key(self) -> str:
        """Names the model: another recipe, another wording, another way of making it is another model."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode())
        for source in (__file__, grammar.__file__, wording.__file__):
            digest.update(Path(source).read_bytes())
        return digest.hexdigest()[:16]


def ensure(cache: Path, recipe: Recipe, progress: Progress) -> tuple[Path, bool]:
    """The folder of the base model and whether it had to be made; it is whole or not there at all."""
    folder = cache / f"storyteller-{recipe.key()}"
    if folder.is_dir():
        return folder, False
    partial = cache / f"{folder.name}.{os.getpid()}.tmp"
    tokenizer, model = pretrain(recipe, progress)
    save(model, tokenizer, partial)
    if folder.is_dir():  # another demo was quicker
        shutil.rmtree(partial)
    else:
        partial.rename(folder)
    return folder, True


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """As transformers saves it. Saving imports DeepSpeed, which says aloud what it finds unless it is told first."""
    logging.disable_progress_bar()
    told = os.environ.get("DS_ACCELERATOR")
    os.environ["DS_ACCELERATOR"] = told or "cpu"
    try:
        model.save_pretrained(folder)
    finally:
        if told is None:
            del os.environ["DS_ACCELERATOR"]
    tokenizer.save_pretrained(folder)


def pretrain(recipe: Recipe, progress: Progress) -> tuple[Any, Any]:
    """Next-token training on the endings of rendered stories: (tokenizer, model in fp32)."""
    tokenizer = make_tokenizer(recipe)
    torch.manual_seed(recipe.seed)
    model = LlamaForCausalLM(make_config(recipe, tokenizer))
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, max_new_tokens=80
    )
    optimizers = make_optimizers(recipe, model)
    shapes = [torch.optim.lr_scheduler.LambdaLR(each, lambda step: rate(step, recipe)) for each in optimizers]
    told = grammar.stories(f"pretrain/{recipe.seed}")
    model.train()
    for step in range(1, recipe.steps + 1):
        ids, attended, labels = next_batch(told, tokenizer, recipe.batch)
        loss = model(input_ids=ids, attention_mask=attended, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, shape in zip(optimizers, shapes, strict=True):
            optimizer.step()
            shape.step()
        model.zero_grad()
        progress(step, recipe.steps, float(loss.detach()))
    return tokenizer, model.eval()


def make_optimizers(recipe: Recipe, model: Any) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for embeddings, head and norms.

    With AdamW alone the model learned the sentences in the same time, but not to keep to its opening's own names
    (loss on stories 0.33 against 0.30 after 420 steps, endings true to their opening 10 against 26 of 64).
    """
    matrices = [weight for name, weight in model.named_parameters() if weight.ndim == 2 and "layers" in name]
    inside = {id(weight) for weight in matrices}
    others = [weight for weight in model.parameters() if id(weight) not in inside]
    return [
        torch.optim.Muon(matrices, lr=recipe.matrix_learning_rate, weight_decay=0.01),
        torch.optim.AdamW(others, lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.01),
    ]


def make_tokenizer(recipe: Recipe) -> Any:
    """A byte-level BPE learned from stories; the chat's marks are its only special tokens."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=[PAD, USER, ASSISTANT, SYSTEM, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    stories = itertools.islice(grammar.stories(f"vocabulary/{recipe.seed}"), 4000)
    bpe.train_from_iterator((f"{story.opening.text}\n{story.ending}" for story in stories), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=END,
        extra_special_tokens=[USER, ASSISTANT, SYSTEM],
        model_max_length=recipe.context,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        chat_template=TEMPLATE,
    )


def make_config(recipe: Recipe, tokenizer: Any) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.width,
        intermediate_size=recipe.width * 8 // 3,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=recipe.context,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )


def rate(step: int, recipe: Recipe) -> float:
    """The share of the learning rate: linear warm-up, then linear to zero."""
    return min((step + 1) / recipe.warmup, (recipe.steps - step) / (recipe.steps - recipe.warmup))


def next_batch(told: Iterator[grammar.Story], tokenizer: Any, size: int) -> tuple[torch.Tensor, ...]:
    """Ids, mask and labels of the next stories, [size, longest]; the opening, drawn at random, is not a label."""
    chats = [
        [{"role": "user", "content": story.opening.text}, {"role": "assistant", "content": story.ending}]
        for story in itertools.islice(told, size)
    ]
    texts = tokenizer.apply_chat_template(chats, tokenize=False)
    encoded = tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
    ids, attended = encoded["input_ids"], encoded["attention_mask"]
    starts = (ids == tokenizer.convert_tokens_to_ids(ASSISTANT)).int()
    answered = (starts.cumsum(1) - starts) > 0
    return ids, attended, ids.masked_fill(~answered | (attended == 0), IGNORED)
