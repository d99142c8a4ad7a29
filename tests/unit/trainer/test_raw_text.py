"""Raw texts become tokens without a chat template: letter by letter, BOS as the tokenizer has it, EOS behind."""

from pathlib import Path
from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing

from core.contract.errors import BadModel
from core.contract.preference import Message, Origin, PreferenceRecord
from core.contract.run_spec import InspectSpec
from tests.models import make_tiny_model, make_tokenizer
from tests.pairs import make_records, write_records
from trainer import records
from trainer.data import make_renderer, tokenise
from trainer.inspect import inspect
from trainer.render import Renderer
from trainer.sample import openings

BOS, EOS = 0, 1


def renderer(*, bos: bool = False, eos: bool = False, template: str | None = None) -> Renderer:
    """`bos`, `eos`: the tokenizer puts them round every text by itself."""
    tokenizer = make_tokenizer(template)
    single = f"{'<s> ' * bos}$A{' <|end|>' * eos}"
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=single, special_tokens=[("<s>", BOS), ("<|end|>", EOS)]
    )
    return make_renderer(tokenizer, [EOS])


def said(role: Any, text: str) -> list[Message]:
    return [Message(role=role, content=text)]


def raw(prompt: str, chosen: str, rejected: str, raw_text: bool = True) -> PreferenceRecord:
    return PreferenceRecord(
        id="r",
        prompt=said("user", prompt),
        chosen=said("assistant", chosen),
        rejected=said("assistant", rejected),
        origin=Origin(line=7, format="plain_triple"),
        raw_text=raw_text,
    )


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("eos", [False, True])
def test_the_texts_are_all_that_is_read(bos: bool, eos: bool) -> None:
    found = renderer(bos=bos, eos=eos)
    prompt, chosen, rejected = "\n tell me:\n", " the  fox \n", "a river"
    (pair,) = tokenise(found, [raw(prompt, chosen, rejected)], 256, "drop").examples
    for answer, text in zip(pair.answers, (chosen, rejected), strict=True):
        own = [*[BOS] * bos, *found.tokenizer(prompt + text, add_special_tokens=False)["input_ids"], EOS]
        assert answer.ids == tuple(own)
        assert answer.spans == ((pair.prefix, len(own)),)
        assert found.tokenizer.decode(answer.ids[pair.prefix :]) == text + "<|end|>"
    assert pair.line == 7


def test_a_token_across_the_border_is_the_answers() -> None:
    found = renderer()
    (pair,) = tokenise(found, [raw("tell me a ", "story", "tell")], 256, "drop").examples
    read = [found.tokenizer.decode(answer.ids[pair.prefix :]) for answer in pair.answers]
    assert read == [" story<|end|>", " tell<|end|>"]


def test_special_tokens_in_the_text_are_tokens_and_an_end_is_not_doubled() -> None:
    found = renderer()
    (pair,) = tokenise(found, [raw("<|user|>why<|assistant|>", "because<|end|>", "no")], 256, "drop").examples
    assert pair.answers[0].ids[0] == found.tokenizer.convert_tokens_to_ids("<|user|>")
    assert [answer.ids.count(EOS) for answer in pair.answers] == [1, 1]
    (same,) = tokenise(found, [raw("<s>why", "because", "no")], 256, "drop").examples
    assert same.answers[0].ids.count(BOS) == 1


def test_a_second_bos_falls_out() -> None:
    (problem,) = tokenise(renderer(bos=True), [raw("<s>why", "because", "no")], 256, "drop").problems
    assert (problem.line, problem.code) == (7, "special_token_in_text")
    assert "'<s>', which the tokenizer adds by itself" in problem.message


@pytest.mark.parametrize("truncation", ["drop", "keep_end", "error"])
def test_what_is_too_long_falls_out_and_is_never_cut(truncation: Any) -> None:
    (problem,) = tokenise(renderer(), [raw("a fox " * 200, "yes", "no")], 64, truncation).problems
    assert (problem.line, problem.code) == (7, "too_long")


def test_a_template_is_asked_for_by_the_records_that_need_it() -> None:
    found = renderer()
    assert tokenise(found, [raw("why", "yes", "no")], 64, "drop").examples
    with pytest.raises(BadModel, match="raw_text") as error:
        tokenise(found, [raw("why", "yes", "no", raw_text=False)], 64, "drop")
    assert (error.value.code, error.value.param) == ("no_chat_template", "model")


def test_probe_prompts_are_what_the_records_are(tmp_path: Path) -> None:
    found = renderer(bos=True)
    assert openings(found, ["why "], raw("a", "b", "c")) == [
        [BOS, *found.tokenizer("why ", add_special_tokens=False)["input_ids"]]
    ]
    with pytest.raises(BadModel, match="no chat template"):
        openings(found, ["why "], raw("a", "b", "c", raw_text=False))
    for raw_text in (True, False):
        write_records(tmp_path / "data.zst", [raw("why", "yes", "no", raw_text)])
        assert records.first(tmp_path / "data.zst").raw_text == raw_text


def test_a_model_without_a_template_is_inspected_with_raw_texts(tmp_path: Path) -> None:
    made = [each.model_copy(update={"raw_text": True}) for each in make_records(3)]
    write_records(tmp_path / "data.zst", made)
    plain = make_tiny_model(tmp_path / "plain", template=None)
    found = inspect(InspectSpec(model_dir=plain, data=tmp_path / "data.zst", out=tmp_path / "out"))
    assert (found.fatal, found.usable) == (None, 3)
    assert [each.severity for each in found.checks] == ["info"] * 3
    shown = found.previews[0]
    assert (
        shown.prompt.text + shown.answers[0].text == made[0].prompt[0].content + made[0].chosen[0].content + "<|end|>"
    )
    assert [sum(answer.mask) for answer in shown.answers] == [len(answer.mask) for answer in shown.answers]
