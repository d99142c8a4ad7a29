"""What each check of the report measures on real files, beside where it warns: python benchmarks/thresholds.py FOLDER.

A row a check and a column a file, as in docs/report.md; `w` and `b` mark what warns and what blocks. A value alone is
what another threshold would be set against.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.contract.findings import CHECKS  # noqa: E402
from preferences.check import check_file  # noqa: E402
from preferences.report import Report  # noqa: E402

NAMES = (
    "hh-helpful.train.jsonl.gz",
    "hh-helpful.test.jsonl",
    "llamafactory.dpo_en_demo.json",
    "orca-dpo.openai.jsonl",
    "llamafactory.kto_en_demo.json",
    "qa-feedback.ranked.json",
    "instruction-preference.alpaca.json",
    "persona.interest-in-science.jsonl",
)
# What the columns mean, where the layout is a file's own.
MAPPINGS: dict[str, dict[str, Any]] = {
    "qa-feedback.ranked.json": {
        "prompt": "question",
        "answers": ["prediction 1", "prediction 2", "prediction 3", "prediction 4"],
        "pairs": "preference",
    },
    "persona.interest-in-science.jsonl": {
        "prompt": "question",
        "chosen": "answer_matching_behavior",
        "rejected": "answer_not_matching_behavior",
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the data files")
    folder = parser.parse_args().folder
    reports = [check_file(folder / name, mapping=MAPPINGS.get(name)) for name in NAMES]
    print(f"| check | warns | blocks | {' | '.join(name.rsplit('.', 1)[0] for name in NAMES)} |")
    print(f"|---|--:|--:|{'--:|' * len(NAMES)}")
    for code, facts in CHECKS.items():
        if facts.stage == "upload":
            warn = " / ".join(f"{each:g}" for each in (facts.warn_below, facts.warn) if each is not None)
            block = "" if facts.block is None else f"{facts.block:g}"
            print(f"| {code} | {warn} | {block} | {' | '.join(cell(report, code) for report in reports)} |")
    print(f"| **gate, score** | | | {' | '.join(map(outcome, reports))} |")


def cell(report: Report, code: str) -> str:
    found = next((each for each in report.checks if each.code == code), None)
    if found is None or found.value is None:
        return ""
    return f"{found.value:.3g}{ {'warn': ' w', 'block': ' b'}.get(found.severity, '') }"


def outcome(report: Report) -> str:
    if report.verdict:
        return f"{report.verdict.gate} {report.verdict.score}"
    return report.error.code if report.error else ""


if __name__ == "__main__":
    main()
