"""The tokenizer's chat template: rendered as transformers does, with the run's clock in place of the machine's."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from core.contract.errors import BadModel
from trainer.folder import first_line
from trainer.unfit import Unfit

NO_TEMPLATE = (
    "The model's tokenizer has no chat template: add the model again with --chat-template, or train it on texts as "
    "they stand (a file of prompt, chosen and rejected with `palate[raw_text]`), which needs none."
)
# Characters of one rendering: twice the longest record.
LONGEST = 32 << 20
SHORTER = "shorten the record, or mend the template's loops"
Json = dict[str, Any]


class Template:
    """`clock`: what the template is told when it asks for the time, in UTC; None: the time of this call.

    clock_read: whether a rendering has asked for it; `asks_clock`: whether the template speaks of it at all.
    """

    def __init__(self, tokenizer: Any, clock: datetime | None = None) -> None:
        self.tokenizer = tokenizer
        self.clock = (clock or datetime.now(UTC)).astimezone(UTC).replace(tzinfo=None)
        self.clock_read = False
        given = tokenizer.chat_template
        self.sources: list[str] = list(given.values()) if isinstance(given, dict) else [given] if given else []
        self._compiled = False
        self._mentioned: dict[str, bool] = {}

    def mentions(self, pattern: str) -> bool:
        if pattern not in self._mentioned:
            self._mentioned[pattern] = any(re.search(pattern, str(source)) for source in self.sources)
        return self._mentioned[pattern]

    def text(
        self, turns: Sequence[Json], tools: list[Json] | None, kwargs: Mapping[str, Any], header: bool = False
    ) -> str:
        """Rendered; with `header`, up to where the assistant would begin to speak.

        Raises Unfit where the template raises, BadModel without a template or with one that is no template.
        """
        self.compile()
        try:
            rendered = self.tokenizer.apply_chat_template(
                turns, tools=tools, tokenize=False, add_generation_prompt=header, **{**self.dated, **kwargs}
            )
        except MemoryError as error:
            raise Unfit("template_render_failed", f"The chat template asks for too much memory: {SHORTER}.") from error
        # A template is a program of the model's author: whatever it raises is about this record.
        except Exception as error:
            raise Unfit(
                "template_render_failed", f"The chat template refuses this conversation: {first_line(error)}"
            ) from error
        if not isinstance(rendered, str):
            raise Unfit("template_render_failed", "The chat template gives no text.")
        if len(rendered) > LONGEST:
            raise Unfit("template_render_failed", f"The chat template writes {len(rendered):,} characters: {SHORTER}.")
        return rendered

    def compile(self) -> None:
        """Once. `strftime_now` cannot be passed as a variable: a callable would become text."""
        if self._compiled:
            self._settle_clock()
            return
        if not self.sources:
            raise BadModel(NO_TEMPLATE, code="no_chat_template", param="model")
        from jinja2 import TemplateError, TemplateSyntaxError
        from transformers.utils.chat_template_utils import _compile_jinja_template

        try:
            self._own = [_compile_jinja_template(source) for source in self.sources]
        # Python compiles what jinja2 makes of it, and raises errors of its own where that nests too deeply.
        except Exception as error:
            what = (
                "is no template" if isinstance(error, TemplateError) else "cannot be compiled; it may nest too deeply"
            )
            line = f" (its line {error.lineno})" if isinstance(error, TemplateSyntaxError) else ""
            raise BadModel(
                f"The model's chat template {what}: {first_line(error).rstrip('.')}{line}. Mend it, or add the model "
                "again with --chat-template.",
                code="chat_template_invalid",
                param="model",
            ) from error
        self._compiled = True
        self._settle_clock()

    @property
    def asks_clock(self) -> bool:
        return self._tells_time or self._wants_date

    @property
    def _tells_time(self) -> bool:
        return self.mentions(r"\bstrftime_now\b")

    @property
    def _wants_date(self) -> bool:
        """Where the template has a text of its own in its place, that is what the model is served with."""
        return self.mentions(r"\bdate_string\b") and not self.mentions(r"\bset\s+date_string\b")

    def _settle_clock(self) -> None:
        """Compiled templates are shared by all of a process."""
        for each in self._own if self._tells_time else ():
            each.globals["strftime_now"] = self.now

    @property
    def dated(self) -> Json:
        if not self._wants_date:
            return {}
        self.clock_read = True
        return {"date_string": self.clock.strftime("%d %b %Y")}

    def now(self, format: str) -> str:
        self.clock_read = True
        return self.clock.strftime(format)
