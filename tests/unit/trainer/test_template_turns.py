"""Where an answer begins and ends in a template: end tokens, reasoning, clocks, and the border behind the prompt."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from core.contract.errors import BadModel
from tests.conftest import ROOT
from tests.models import CHAT_TEMPLATE, WORDS
from tests.support import templates as t
from tests.support.real_model import real_model
from tests.support.rendering import (
    ASK,
    BAD,
    CALL,
    DEVELOPER,
    GOOD,
    OLD,
    REASONS,
    RESULT,
    SYSTEM,
    TOOL,
    WHY,
    health,
    only,
    prompt_of,
    reason,
    record,
    renderer,
    scored,
    told,
)
from trainer import folder, reference_file
from trainer.data import make_renderer
from trainer.health import NOTES

DAY, NEXT = datetime(2026, 2, 3, 23, 30, tzinfo=UTC), datetime(2026, 2, 4, 0, 30, tzinfo=UTC)


def test_the_end_that_the_template_writes_is_trained_and_one_at_which_nobody_stops_is_told() -> None:
    """A base model: its end of text is another token than the template's end of turn."""
    own = renderer(t.QWEN25, "<|endoftext|>")
    found = told(own, record([ASK], [GOOD], [BAD]))
    assert [scored(own, found.examples[0], n) for n in (0, 1)] == [["it was good<|im_end|>"], ["bad<|im_end|>"]]
    seen = health(own, found)
    assert seen.severity == "warn"
    assert "'<|im_end|>' (7)" in seen.action
    assert "('<|endoftext|>' (5))" in seen.action
    assert "runs on" in seen.action
    assert seen.detail["end_tokens"] == {"<|im_end|>": 2}
    lists_it = renderer(t.QWEN25, "<|endoftext|>", [5, 7])
    assert health(lists_it, told(lists_it, record([ASK], [GOOD], [BAD]))).severity == "info"
    silent = renderer(t.QWEN25, "<|im_end|>", [])
    assert "(none)" in health(silent, told(silent, record([ASK], [GOOD], [BAD]))).action


def test_an_end_that_is_added_but_not_special() -> None:
    own = renderer(t.SMOLLM2.replace("<|im_end|>", "</tool_call>"), "<|endoftext|>")
    assert scored(own, only(own, record([ASK], [GOOD], [BAD]))) == ["it was good</tool_call>"]


def test_where_no_end_is_written_the_tokenizers_own_is_put_there() -> None:
    own = renderer(t.SMOLLM2.replace("<|im_end|>", ""), "<|endoftext|>")
    found = told(own, record([ASK], [GOOD], [BAD]))
    assert scored(own, found.examples[0]) == ["it was good<|endoftext|>"]
    assert "writes no end token" in health(own, found).action


@pytest.mark.parametrize("content", ["", "think", " it rains \n", "im_end", "a\n\nb"])
def test_what_an_answer_may_be(content: str) -> None:
    said = {"role": "assistant", "content": content}
    for template, kwargs in ((t.SMOLLM2, {}), (t.QWEN3, {})):
        own = renderer(template)
        example = only(own, record([ASK], [said], [BAD], **kwargs))
        # Qwen takes line ends off the beginning.
        assert scored(own, example) == [f"{content}<|im_end|>"]


# Reasoning.


def test_one_answer_with_reasoning_and_one_without() -> None:
    own = renderer(t.QWEN3)
    found = told(own, record([ASK], REASONS[0], [BAD]))
    (example,) = found.examples
    assert prompt_of(own, example).endswith("<|im_start|>assistant\n")
    assert scored(own, example, 1) == ["<think>\n\n</think>\n\nbad<|im_end|>"]
    assert "empty block of reasoning" in health(own, found).action


def test_what_a_record_says_to_the_template_goes_before_what_is_found() -> None:
    own = renderer(t.QWEN3)
    loud = only(own, record([ASK], [GOOD], [BAD], chat_template_kwargs={"enable_thinking": True}))
    assert prompt_of(own, loud).endswith("<|im_start|>assistant\n")
    quiet = only(own, record([ASK], [GOOD], [BAD], chat_template_kwargs={"enable_thinking": False}))
    plain = only(own, record([ASK], [GOOD], [BAD]))
    assert quiet.answers == plain.answers
    assert reference_file.digest(loud.answers[0]) != reference_file.digest(quiet.answers[0])


@pytest.mark.parametrize("template", [t.R1_DISTILL, t.QWEN3_THINKING])
def test_an_empty_block_of_reasoning_is_trained_only_where_it_is_asked_for(template: str) -> None:
    own = renderer(template, "<EOT>" if template == t.R1_DISTILL else "<|im_end|>")
    found = told(own, record([ASK], [GOOD], [BAD]))
    assert found.unfit == {0: "generation_prompt_differs"}
    example = only(own, record([ASK], [GOOD], [BAD], chat_template_kwargs={"enable_thinking": False}))
    assert prompt_of(own, example).endswith("<think>\n")
    assert scored(own, example)[0].startswith("\n</think>\n\nit was good<")


def test_reasoning_written_into_the_content() -> None:
    inline = {"role": "assistant", "content": "<think>\nSo I think.\n</think>\n\nit was good"}
    for template, eos in ((t.QWEN3, "<|im_end|>"), (t.R1_DISTILL, "<EOT>"), (t.SMOLLM2, "<|im_end|>")):
        own = renderer(template, eos)
        example = only(own, record([ASK], [inline], [{**inline, "content": "<think>Hm.</think>bad"}]))
        whole = own.tokenizer.decode(example.answers[0].ids)
        assert whole.endswith(f"<think>\nSo I think.\n</think>\n\nit was good{eos}")


def test_a_template_that_knows_reasoning_in_the_content_alone() -> None:
    inner = t.QWEN3.replace("m.reasoning_content is string", "false")
    own = renderer(inner)
    example = only(own, record([ASK], *REASONS))
    assert scored(own, example) == ["<think>\nSo I think.\n</think>\n\nit was good<|im_end|>"]


def test_reasoning_in_a_loop_of_tools_stays_where_the_template_keeps_it() -> None:
    own = renderer(t.QWEN3)
    found = told(own, record([ASK, {**CALL, "reasoning_content": "I must look."}, RESULT], [GOOD], [BAD], [TOOL]))
    assert "I must look." in prompt_of(own, found.examples[0])
    assert "earlier_reasoning_left_out" not in found.notes


# Texts that hold a template's marks.


@pytest.mark.parametrize(
    ("prompt", "answer", "names"),
    [
        ("<|im_start|>user\nwhy<|im_end|>\n<|im_start|>assistant\n", "so<|im_end|>", True),
        ("<s>[INST] why [/INST]", "so</s>", True),
        ("why", "so<|im_end|>", True),
        ("why", "so </s>", True),
        ("what does <|im_end|> mean", "so", False),
        ("why", "it is <s>old</s> new", False),
    ],
)
def test_a_text_that_looks_preformatted_is_told_how_to_be_read(prompt: str, answer: str, names: bool) -> None:
    given = record([{**ASK, "content": prompt}], [{**GOOD, "content": answer}], [{**BAD, "content": answer + "!"}])
    message = reason(renderer(t.SMOLLM2), given)
    assert "a special token of the model" in message
    assert ("--raw-text (`palate[raw_text]`)" in message) == names


HASHES = (
    "{% for m in messages %}{{ '### ' + m.role + ':\n' + m.content + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '### assistant:\n' }}{% endif %}"
)


@pytest.mark.parametrize(
    ("template", "eos", "text"),
    [
        # Marks that are no special tokens.
        (t.LLAMA2.replace("INST", "ASK"), "</s>", "[ASK] why [/ASK]"),
        (HASHES, "</s>", "### user:\nwhy\n### assistant:\n"),
    ],
)
def test_a_text_that_ends_as_the_prompt_does_is_told(template: str, eos: str, text: str) -> None:
    own = renderer(template, eos)
    found = told(own, record([{**ASK, "content": text}], [GOOD], [BAD]))
    assert found.notes["preformatted"] == [7]
    assert "--raw-text (`palate[raw_text]`)" in health(own, found).action
    assert "preformatted" not in told(own, record([ASK], [GOOD], [BAD])).notes


# Clocks.


@pytest.mark.parametrize(
    ("template", "day"),
    [(t.LLAMA32, "03 Feb 2026"), (t.SMOLLM3, "03 February 2026"), (t.HARMONY, "2026-02-03")],
)
def test_a_template_is_told_the_runs_time(template: str, day: str) -> None:
    eos = {t.LLAMA32: "<|eot_id|>", t.HARMONY: "<|return|>"}.get(template, "<|im_end|>")
    one = record([ASK], [GOOD], [BAD])
    # Compiled templates are shared: the clock of the one does not become the other's.
    first, next_day = renderer(template, eos, clock=DAY), renderer(template, eos, clock=NEXT)
    found, other, again = told(first, one), told(next_day, one), told(first, one)
    assert day in prompt_of(first, found.examples[0])
    assert found.examples == again.examples
    assert reference_file.digest(found.examples[0].answers[0]) != reference_file.digest(other.examples[0].answers[0])
    seen = health(first, found)
    assert (seen.severity, seen.detail["clock"]) == ("warn", 1)
    assert "as of 03 Feb 2026" in seen.action
    assert first.template.asks_clock


def test_a_template_with_a_date_of_its_own_is_told_none() -> None:
    own = renderer(t.LLAMA31, "<|eot_id|>", clock=DAY)
    found = told(own, record([ASK], [GOOD], [BAD]))
    assert "26 Jul 2024" in prompt_of(own, found.examples[0])
    assert (health(own, found).severity, own.template.asks_clock) == ("info", False)
    wants = renderer("{{ date_string }}\n" + t.SMOLLM2, clock=DAY)
    found = told(wants, record([ASK], [GOOD], [BAD]))
    assert prompt_of(wants, found.examples[0]).startswith("03 Feb 2026\n")
    assert health(wants, found).severity == "warn"
    given = record([ASK], [GOOD], [BAD], chat_template_kwargs={"date_string": "a day"})
    assert prompt_of(wants, only(wants, given)).startswith("a day\n")


# Templates that are none.


@pytest.mark.parametrize("broken", ["{% for m in messages %}", "{{ messages | nosuchfilter }}", "{% nosuchtag %}"])
def test_a_template_that_cannot_be_read_is_the_models_fault(broken: str) -> None:
    with pytest.raises(BadModel, match="is no template: ") as error:
        told(renderer(broken), record([ASK], [GOOD], [BAD]))
    assert (error.value.code, error.value.param) == ("chat_template_invalid", "model")


@pytest.mark.parametrize("broken", t.TOO_DEEP)
def test_a_template_that_python_cannot_compile_is_the_models_fault(broken: str) -> None:
    with pytest.raises(BadModel, match="cannot be compiled; it may nest too deeply: ") as error:
        told(renderer(t.TOO_DEEP[broken]), record([ASK], [GOOD], [BAD]))
    assert (error.value.code, error.value.param) == ("chat_template_invalid", "model")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("{{ raise_exception('Only on Sundays.') }}", "Only on Sundays."),
        ("{{ messages.nosuch.field }}", "has no attribute 'nosuch'"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{% for i in range(1000000000) %}{% endfor %}", "Range too big"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion"),
    ],
)
def test_a_template_that_raises_is_told_in_its_own_words(body: str, words: str) -> None:
    message = reason(renderer(body), record([ASK], [GOOD], [BAD]))
    assert message.startswith("The chat template refuses this conversation: ")
    assert words in message
    assert "\n" not in message


def test_the_border_of_prompt_and_answer_is_where_a_server_has_it() -> None:
    """Without a mark between them the answer's first token would take the prompt's last blank with it."""
    template = CHAT_TEMPLATE.replace("<|{{ m['role'] }}|>\n", "{{ m['role'] }}: ").replace(
        "<|assistant|>\n", "assistant: "
    )
    own = renderer(template.replace("<|end|>", "<|im_end|>"))
    found = told(own, record([ASK], [{**GOOD, "content": "the fox"}], [BAD]))
    (example,) = found.examples
    head, rest = (
        own.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt_of(own, example), "the fox")
    )
    assert list(example.answers[0].ids) == [*head, *rest, 7]
    assert list(example.answers[0].ids) != own.tokenizer(own.tokenizer.decode(example.answers[0].ids))["input_ids"]
    assert (found.notes["boundary_retokenised"], health(own, found).severity) == ([7], "info")


def test_the_page_tells_every_note() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w*) ?\|", (ROOT / "docs" / "templates.md").read_text(), re.MULTILINE)
    assert dict(rows) == {name: "warn" * note.warns for name, note in NOTES.items()}


# The real model.


def test_smollm2s_own_template_and_tokenizer() -> None:
    path = real_model()
    own = make_renderer(folder.load_tokenizer(path), folder.end_tokens(path))
    tokenizer = own.tokenizer
    for prompt in ([ASK], [SYSTEM, ASK], [ASK, OLD, WHY]):
        found = told(own, record(prompt, [GOOD], [BAD]))
        (example,) = found.examples
        feeds = tokenizer.apply_chat_template(prompt, add_generation_prompt=True)["input_ids"]
        assert list(example.answers[0].ids[: example.prefix]) == feeds
        whole = tokenizer.apply_chat_template([*prompt, GOOD])["input_ids"]
        assert list(example.answers[0].ids) == whole[: len(example.answers[0].ids)]
        assert scored(own, example) == ["it was good<|im_end|>"]
        assert health(own, found).severity == "info"
    developer = told(own, record([DEVELOPER, ASK], [GOOD], [BAD]))
    assert "<|im_start|>system\nBe kind.<|im_end|>" in prompt_of(own, developer.examples[0])
    assert developer.notes["developer_as_system"] == [7]


@pytest.mark.parametrize("scheme", ["first", "always", "normalizer"])
@pytest.mark.parametrize("border", [" [/INST]", "[/INST]", " [/INST] ", "\n"])
def test_tokenizers_that_put_a_blank_before_a_text(scheme: str, border: str) -> None:
    """As SentencePiece's: the tokens are those of the whole where none of them reaches over the border; told."""
    tokenizer = blank_first(scheme)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<s>[INST] ' + m.content + '" + border + "' if m.role == 'user' "
        "else ' ' + m.content + '</s>' }}{% endfor %}"
    )
    own = make_renderer(tokenizer, [2])
    found = told(own, record([ASK, OLD, WHY], [GOOD], [BAD]))
    answer, prefix = found.examples[0].answers[0], found.examples[0].prefix
    texts = [tokenizer.apply_chat_template(t, tokenize=False) for t in ([ASK, OLD, WHY], [ASK, OLD, WHY, GOOD])]
    head, whole = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts)
    assert list(answer.ids[:prefix]) == head
    assert ("boundary_retokenised" in found.notes) == (whole[: len(head)] != head)
    if whole[: len(head)] == head:
        assert list(answer.ids) == whole
    assert "".join(tokenizer.convert_ids_to_tokens(answer.ids[prefix:-1])).strip("▁") == "it▁was▁good"
    assert answer.ids[-1] == 2


def blank_first(scheme: str) -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE(unk_token="<unk>"))
    if scheme == "normalizer":
        parts = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        inner.normalizer = normalizers.Sequence(parts)  # type: ignore[arg-type]
    else:
        inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    texts = [" ".join(WORDS[i:] + WORDS[:i]) + " [INST] it was good [/INST]\n" for i in range(len(WORDS))]
    inner.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
