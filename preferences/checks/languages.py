"""Which languages are there, and whether the answer is in that of its prompt; told on a sample."""

import re
from collections import Counter
from functools import lru_cache
from typing import Any

from core.contract.finding import Finding, Place
from core.contract.findings import EXAMPLES, finding
from preferences.checks.chance import interval
from preferences.checks.sample import Sample
from preferences.checks.seen import Seen

SAMPLE = 2_000
# A shorter text is in any language; of a longer one this much tells.
FEWEST_LETTERS, LOOKED_AT = 60, 500
SURE = 0.99
# A prompt that asks for another language, or about one, is no slip.
_ASKED = re.compile(
    r"translat|languag|traduc|übersetz|\b(?:english|french|german|spanish|italian|portuguese|dutch|polish|russian|chinese"
    r"|mandarin|japanese|korean|arabic|hindi|turkish|swedish|finnish|romanian|greek|czech|persian|hebrew|latin)\b",
    re.IGNORECASE,
)
_CODE = re.compile(r"```.*?(?:```|\Z)|https?://\S+|[^\W\d_]*[_\d\\{}$<>=#/@]\S*", re.DOTALL)


class Languages:
    def __init__(self) -> None:
        self._sample: Sample[tuple[Place, str, list[str]]] = Sample(SAMPLE)

    def see(self, seen: Seen) -> None:
        if (place := self._sample.place()) is None:
            return
        asked = next((turn.content or "" for turn in reversed(seen.record.prompt) if turn.role == "user"), "")
        self._sample.put(place, (seen.place, asked[-4 * LOOKED_AT :], [each[: 4 * LOOKED_AT] for each in seen.answers]))

    def findings(self) -> list[Finding]:
        if not self._sample.offered:
            return []
        spread: Counter[str] = Counter()
        judged, differ = 0, []
        for place, asked, answers in sorted(self._sample.held, key=lambda each: each[0]):
            told = [tongue for tongue in map(language, answers) if tongue]
            spread.update(told)
            prompt = language(asked)
            if prompt and told and not _ASKED.search(asked):
                judged += 1
                if other := next((tongue for tongue in told if tongue != prompt), None):
                    differ.append((place, f"asked in {prompt}, answered in {other}"))
        share = len(differ) / judged if judged else 0.0
        sure = judged > 0 and interval(len(differ), judged)[0] > 0.01
        total = max(1, spread.total())
        detail: dict[str, Any] = {
            "of": self._sample.offered,
            "looked_at": len(self._sample.held),
            "told": judged,
            "answers": {name: round(count / total, 4) for name, count in spread.most_common(10)},
        }
        return [
            finding(
                "languages",
                share,
                count=len(differ),
                share=share,
                severity=None if sure else "info",
                examples=differ[:EXAMPLES],
                detail=detail,
            )
        ]


def language(text: str) -> str | None:
    """ISO 639-1; None where the text is too short or mixed to tell."""
    plain = _CODE.sub(" ", text)[:LOOKED_AT]
    if sum(map(str.isalpha, plain)) < FEWEST_LETTERS and plain.isascii():
        return None
    if len(plain.strip()) < FEWEST_LETTERS // 3:
        return None
    name, probability = _identifier().classify(plain)
    return str(name) if probability >= SURE else None


@lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
