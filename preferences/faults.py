"""What can be wrong with a row or with a file, by code, and what to do about each."""

from core.contract.errors import BadData

HINTS = {
    "json_invalid": "Write each record with a JSON library: double quotes, no comments, no trailing comma, no NaN.",
    "not_object": "Each record is one JSON object, {...}.",
    "utf8_invalid": "Save the file as UTF-8.",
    "csv_invalid": "Write the table with a CSV library: every record has a cell for each column, texts with quotes or "
    "line ends stand in quotes.",
    "line_too_long": "Shorten the record; the longest one that is read has 16 MiB.",
    "field_missing": "Add the field to this record, or remove the record.",
    "field_type": "Give the field the type that the message names.",
    "prompt_empty": "Give the prompt, and its last user message, some text.",
    "completion_empty": "Give every answer some text; the record was left out.",
    "role_invalid": "Use system, developer, user, assistant or tool.",
    "role_order": "Put system messages first and let the prompt end with a user or tool message.",
    "prompt_ends_with_assistant": "End the prompt with a user turn; the last assistant turn belongs to the answers.",
    "no_common_prefix": "Both dialogues must begin with the same prompt and differ only after it.",
    "completion_not_assistant": "An answer begins and ends with an assistant message.",
    "message_left_out": "Every assistant message of an answer is trained on alike: move one that should not be into "
    "the prompt, or take its `weight` (`loss`, `train`) away.",
    "chosen_equals_rejected": "Nothing is learned from two answers that are the same; the record was left out.",
    "tool_call_unresolved": "A tool message follows an assistant message whose `tool_calls` hold its `tool_call_id`.",
    "tools_schema_invalid": 'Give `tools` as a list of objects like {"type": "function", "function": {"name": ...}}.',
    "content_part_unsupported": "Only text is trained on: use a text, or content parts of type text.",
    "label_not_bool": "Write the label as true (wanted) or false (not wanted), without quotes.",
    "rank_invalid": "Give every answer a number: a rank, 1 the best, or a rating, the highest the best.",
    "ranks_all_equal": "Nothing is learned where no answer is better than another; the record was left out.",
    "weight_invalid": "`weight` multiplies the record's loss; if the column means something else, rename it.",
    "confidence_invalid": "`confidence` is the probability that the chosen answer is the better one, so from 0.5: "
    "below it the answers stand the wrong way round; if the column means something else, rename it.",
    "not_raw_text": "With `raw_text` a record is the text of its prompt and of each answer: write all that the model "
    "is to read into the prompt, or leave `raw_text` out.",
    "margin_invalid": "`margin` says by how much the chosen answer is better; if the column means something else, "
    "rename it.",
}

# Well-formed rows from which nothing can be learned: left out, while the file stays usable.
USELESS = frozenset({"chosen_equals_rejected", "completion_empty", "ranks_all_equal"})


class RowFault(BadData):
    """One row cannot be used; `path` names the field, `offset` the character within the row's text where known."""

    def __init__(self, code: str, path: str, message: str, *, offset: int | None = None) -> None:
        super().__init__(message, code=code, param=path)
        self.path = path
        self.offset = offset

    @property
    def hint(self) -> str:
        return HINTS[self.code]


class FileFault(BadData):
    """The file as a whole cannot be read further."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message, code=code)
