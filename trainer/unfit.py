"""Why a record cannot be trained on."""

FAILED = "template_render_failed"


class Unfit(Exception):
    """This record falls out: a code of the data report and a sentence; `fault`: what ails the template."""

    def __init__(self, code: str, message: str, fault: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fault = fault
