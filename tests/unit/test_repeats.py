"""Counting equal contents: exact, and in a memory that does not follow how many there are."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from contextlib import closing

from hypothesis import given
from hypothesis import strategies as st

from models.sources.repeats import CACHE_KILOBYTES, Repeats

CONTENTS = 1_000_000
SCATTERING = 0x9E3779B97F4A7C15
COUNT = f"""
import resource
from contextlib import closing
from models.sources.repeats import Repeats

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

with closing(Repeats()) as repeats:
    repeats.count(bytes(16))
    before = peak()
    for number in range({CONTENTS}):
        repeats.count(((number + 1) * {SCATTERING} % 2**64).to_bytes(16))
    print(peak() - before)
"""


@given(st.lists(st.binary(max_size=2)))
def test_contents_are_counted(contents: list[bytes]) -> None:
    expected: Counter[bytes] = Counter()
    with closing(Repeats()) as repeats:
        for content in contents:
            expected[content] += 1
            assert repeats.count(content) == expected[content]


def test_memory_does_not_follow_how_many_contents_there_are() -> None:
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, check=True)
    assert int(done.stdout) < 1.25 * CACHE_KILOBYTES
