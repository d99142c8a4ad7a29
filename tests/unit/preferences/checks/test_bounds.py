"""What all the checks together may cost: bytes a pair, and no crash on odd texts."""

import subprocess
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from preferences.checks.run import Checks
from tests.unit.preferences.checks.planted import pair

# Grows by 12,000 pairs once everything is imported and every sample is full.
GROWTH = """
import resource, sys
from tests.unit.preferences.checks.planted import clean, pair
from preferences.checks.run import Checks
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
rows = clean(2_000)
def feed(checks, first, last):
    for line in range(first, last):
        row = rows[line % len(rows)]
        checks.see(pair({**row, "prompt": f"{line} {row['prompt']}"}, line), line)
small = Checks()
feed(small, 1, 6_000)
assert small.findings()
large = Checks()
feed(large, 1, 6_000)
before = peak()
feed(large, 6_000, 18_000)
print((peak() - before) / 12_000)
"""


def test_a_pair_costs_a_hundred_bytes_and_no_text_is_kept():
    done = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 300


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60)), min_size=1, max_size=12))
def test_no_text_breaks_a_check(texts):
    checks = Checks()
    for line, (prompt, chosen, rejected) in enumerate(texts, 1):
        checks.see(pair({"prompt": prompt, "chosen": chosen, "rejected": rejected}, line), line)
    found = checks.findings()
    assert len({each.code for each in found}) == len(found)
    assert all(0 <= each.share <= 1 for each in found)
