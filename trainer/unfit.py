"""Why a record cannot be trained on."""

FAILED = "template_render_failed"
# Messages of one answer. What the template writes up to each of them is rendered anew, so that the time of an answer
# grows with the square of their number: 0.3 s here.
MOST_TURNS = 256


def refuse_many(turns: int) -> None:
    """Raises Unfit."""
    if turns > MOST_TURNS:
        raise Unfit(
            "too_many_turns",
            f"An answer has {turns:,} messages; at most {MOST_TURNS} are trained on in one record: cut the dialogue "
            "into several records, each with what came before in its prompt.",
        )


class Unfit(Exception):
    """This record falls out: a code of the data report and a sentence; `fault`: what ails the template."""

    def __init__(self, code: str, message: str, fault: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fault = fault
