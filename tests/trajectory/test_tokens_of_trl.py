"""Raw texts are the tokens of TRL's standard format: its own trainer's preparation of the same rows."""

from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing

from tests.models import make_tokenizer
from trainer.data import make_renderer

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
ROWS = [
    ("tell me a story:", " a fox ran", " boring"),
    ("tell me a ", "story", "tell"),
    ("  what is\n", "paris\n\n", "  no "),
    ("<|user|>why<|assistant|>", "because<|end|>", "no<|end|>"),
    ("na\u00efve \u6771\u4eac", "\U0001f98a!", "\U0001f98a?"),
    ("what", "ever", "ever and then"),
]


@pytest.mark.parametrize("bos", [False, True])
def test_raw_texts(bos: bool) -> None:
    from datasets import Dataset
    from trl import DPOTrainer

    tokenizer = make_tokenizer(None)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A" if bos else "$A", special_tokens=[("<s>", 0)]
    )
    given = Dataset.from_list([dict(zip(("prompt", "chosen", "rejected"), row, strict=True)) for row in ROWS])
    settings: Any = SimpleNamespace(dataset_num_proc=None, max_length=None, truncation_mode="keep_start")
    themselves: Any = SimpleNamespace(_tokenizer=tokenizer)
    theirs = DPOTrainer._prepare_dataset(themselves, given, tokenizer, settings, "train")
    renderer = make_renderer(tokenizer, [1])
    for (prompt, *answers), row in zip(ROWS, theirs, strict=True):
        ours = renderer.raw(prompt, answers)
        assert list(ours.answers[0].ids[: ours.prefix]) == row["prompt_ids"]
        assert [list(answer.ids[ours.prefix :]) for answer in ours.answers] == [row["chosen_ids"], row["rejected_ids"]]
        assert [answer.spans for answer in ours.answers] == [((ours.prefix, len(a.ids)),) for a in ours.answers]
