"""Which of the forms of an answer a client wants: what its Accept header says, else JSON."""

from collections.abc import Sequence

HTML, JSON, LINES = "text/html", "application/json", "application/x-ndjson"


def preferred(header: str | None, forms: Sequence[str]) -> str:
    """The first of `forms` unless the header likes another better (RFC 9110, 12.5.1)."""
    wanted = dict(map(_range, (header or "").split(",")))
    return max(forms, key=lambda form: _quality(form, wanted))


def _range(text: str) -> tuple[str, float]:
    name, *parameters = text.lower().split(";")
    for each in parameters:
        key, _, value = each.partition("=")
        if key.strip() == "q":
            try:
                return name.strip(), float(value)
            except ValueError:
                return name.strip(), 0.0
    return name.strip(), 1.0


def _quality(form: str, wanted: dict[str, float]) -> float:
    for name in (form, form.partition("/")[0] + "/*", "*/*"):
        if name in wanted:
            return wanted[name]
    return 0.0
