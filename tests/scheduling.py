"""Which tests stay together on one pytest worker: those of a file, and those of the groups that their files name.

pytest 9.2 hides the mark `xdist_group` from pytest-xdist 3.8 (its issue 1386), so the files are read for it.
"""

import re
from functools import cache
from pathlib import Path

from xdist.scheduler import LoadGroupScheduling

ROOT = Path(__file__).resolve().parents[1]


class ByGroup(LoadGroupScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid.partition("::")[0])


@cache
def scope(path: str) -> str:
    if path.startswith("tests/e2e/"):
        return "ranks"
    named = re.search(r'xdist_group\("(\w+)"\)', (ROOT / path).read_text())
    return named[1] if named else path
