"""Personal data by its shape and checksum, and keys to other people's doors; what is shown of them is masked."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any

from core.contract.finding import Finding, Place
from core.contract.findings import EXAMPLES, finding
from preferences.checks.seen import Seen

_MAIL = re.compile(r"[A-Za-z0-9_.+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b")
_PHONE = re.compile(r"(?<![\w.+/-])(?:\+\d{1,3}[ .-]?|\(\d{3}\) ?|\d{3}[.-])\d[\d .()-]{5,14}\d(?![\w/-])")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(r"(?<![\d.-])[3-6]\d{3}(?:([ -]?)\d{4}\1\d{4}\1\d{4}|([ -]?)\d{6}\2\d{5})(?![\d.-])")
_DIGITS = re.compile(r"\d[\d .()-]{6,}\d")
# Names that documentation uses (RFC 2606).
_MADE_UP = ("example.com", "example.org", "example.net", ".example", ".test", ".invalid", "domain.com", "email.com")
# Of one text so many finds are judged: enough to count the record, whatever it holds.
_MOST = 20

# What a key cannot do without, by the rarest of its characters: most texts are passed at a glance.
_ANCHORS = {
    "_": ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "_authToken", "sk_live_", "rk_live_"),
    "-": ("glpat-", "gldt-", "glrt-", "PRIVATE KEY-----", "pypi-AgE", "xox", "sq0csp-"),
    "=": ("AccountKey=",),
    ".": ("SG.", "hooks.slack.com"),
    "A": ("AKIA", "ASIA", "ABIA", "ACCA"),
    "F": ("T3BlbkFJ",),
}
_DETECTORS = (
    "aws.AWSKeyDetector", "azure_storage_key.AzureStorageKeyDetector", "github_token.GitHubTokenDetector",
    "gitlab_token.GitLabTokenDetector", "npm.NpmDetector", "openai.OpenAIDetector", "pypi_token.PypiTokenDetector",
    "sendgrid.SendGridDetector", "slack.SlackDetector", "square_oauth.SquareOAuthDetector", "stripe.StripeDetector",
)  # fmt: skip
# In JSON that a text quotes, as the file of a service account, a line end is written \n.
_GAP = r"(?:\\+[rn]|\s)"
_KEY_BODY = re.compile(
    rf"BEGIN ([A-Z0-9 ]*)PRIVATE KEY-----{_GAP}*+(?:[A-Za-z-]++: [^\n\\]*+{_GAP}++)*+"
    rf"((?:{_GAP}|[A-Za-z0-9+/=]){{60,}}+)"
)
# A key of few different characters, or that says so, is an example from a manual.
_PLACEHOLDER = re.compile(r"example|sample|xxxx|your|1234567|abcdef|\.\.\.", re.IGNORECASE)
_BEFORE, _AFTER = 120, 400


class Private:
    def __init__(self) -> None:
        self._records = 0
        self._found = {"personal_data": _Lines(), "secrets": _Lines()}

    def see(self, seen: Seen) -> None:
        self._records += 1
        text = "\n\n".join((seen.prompt, *seen.answers))
        for kind, shown in personal(text):
            self._found["personal_data"].add(seen.place, kind, shown)
        for kind, shown in secrets(text):
            self._found["secrets"].add(seen.place, kind, shown)

    def findings(self) -> list[Finding]:
        made = []
        for code, found in self._found.items():
            share = found.count / self._records if self._records else 0.0
            kinds: dict[str, Any] = {"kinds": dict(found.kinds.most_common()), "of": self._records}
            made.append(finding(code, share, count=found.count, share=share, examples=found.examples, detail=kinds))
        return made


class _Lines:
    """Records, each counted once, and the kinds of what they hold, each once a record."""

    def __init__(self) -> None:
        self.count = 0
        self.kinds: Counter[str] = Counter()
        self.examples: list[tuple[Place, str]] = []
        self._last: tuple[Place | None, set[str]] = (None, set())

    def add(self, place: Place, kind: str, shown: str) -> None:
        if self._last[0] != place:
            self._last = (place, set())
            self.count += 1
        if kind in self._last[1]:
            return
        self._last[1].add(kind)
        self.kinds[kind] += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append((place, f"{kind}: {shown}"))


def personal(text: str) -> Iterator[tuple[str, str]]:
    """Kind and masked excerpt."""
    if "@" in text:
        for match in _first(_MAIL, text):
            name, _, domain = match.partition("@")
            if not domain.lower().endswith(_MADE_UP):
                yield "e-mail", f"{name[0]}…@{domain[0]}…{domain[domain.rfind('.') :]}"
    if _DIGITS.search(text) is None:
        return
    for match in _first(_CARD, text):
        if _card(match):
            yield "card", _masked(match)
    for match in _first(_PHONE, text):
        if _telephone(match):
            yield "phone", _masked(match)
    for match in _first(_IBAN, text):
        if _iban(match):
            yield "IBAN", _masked(match)


def secrets(text: str) -> Iterator[tuple[str, str]]:
    """Only keys of a known shape: a false alarm would stop a job."""
    for anchor in [each for letter, group in _ANCHORS.items() if letter in text for each in group if each in text]:
        start = text.find(anchor)
        for _ in range(_MOST):
            if start < 0:
                break
            if anchor.startswith("PRIVATE"):
                if (key := _KEY_BODY.search(text, max(0, start - 40), start + 4_000)) and len(set(key[2])) > 20:
                    yield "private key", f"{key[1]}PRIVATE KEY of {len(key[2]):,} characters"
            else:
                # A piece around it, so that no pattern can run over a text of megabytes.
                yield from _named(text[max(0, start - _BEFORE) : start + _AFTER])
            start = text.find(anchor, start + len(anchor))


def masked(text: str) -> str:
    """The text with what looks personal, and every key, put out of sight."""
    if "@" in text:
        text = _MAIL.sub("<e-mail>", text)
    if _DIGITS.search(text) is not None:
        for pattern, judge, name in ((_CARD, _card, "card"), (_PHONE, _telephone, "phone"), (_IBAN, _iban, "IBAN")):
            text = pattern.sub(partial(_put_out, judge, name), text)
    if any(anchor in text for anchor in _ANCHORS):
        text = _KEY_BODY.sub(r"BEGIN \1PRIVATE KEY----- <key>", text)
        for plugin in _plugins():
            for pattern in plugin.denylist:
                text = pattern.sub("<key>", text)
    return text


def _put_out(judge: Callable[[str], bool], name: str, match: re.Match[str]) -> str:
    return f"<{name}>" if judge(match[0]) else match[0]


def _named(piece: str) -> Iterator[tuple[str, str]]:
    for plugin in _plugins():
        for pattern in plugin.denylist:
            for match in pattern.finditer(piece):
                if len(set(match[0])) >= 12 and not _PLACEHOLDER.search(match[0]):
                    yield plugin.secret_type, _masked(match[0])


@lru_cache(maxsize=1)
def _plugins() -> list[Any]:
    from importlib import import_module

    found = []
    for each in _DETECTORS:
        module, _, name = each.partition(".")
        found.append(getattr(import_module(f"detect_secrets.plugins.{module}"), name)())
    return found


def _first(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    for number, match in enumerate(pattern.finditer(text)):
        if number == _MOST:
            return
        yield match[0]


def _masked(text: str) -> str:
    return f"{text[:4]}… ({len(text)} characters)"


def _card(text: str) -> bool:
    from stdnum import luhn

    digits = re.sub(r"\D", "", text)
    return len(set(digits)) > 2 and bool(luhn.is_valid(digits))


def _iban(text: str) -> bool:
    from stdnum import iban

    return bool(iban.is_valid(text))


@lru_cache(maxsize=4096)
def _telephone(text: str) -> bool:
    import phonenumbers

    try:
        number = phonenumbers.parse(text, "US")
    except phonenumbers.NumberParseException:
        return False
    return bool(phonenumbers.is_valid_number(number))
