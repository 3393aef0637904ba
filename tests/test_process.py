"""The process keeps the memory that it frees, unless the user has said how glibc shall do it."""

import os
import subprocess
import sys

import pytest

# a string of 64 MB, written and freed again and again: each is 16,384 pages of 4 KB
TURNS = """
import resource
from prunectl.cli.process import prepare
prepare()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    b"x" * (64 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**setting: str) -> int:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", TURNS], env={**plain, **setting}, check=True, capture_output=True, text=True
    )
    return int(done.stdout)


@pytest.mark.parametrize("setting", ["MALLOC_ARENA_TEST", "GLIBC_TUNABLES"])
def test_freed_memory_is_kept_unless_the_user_has_set_the_allocator(setting: str) -> None:
    given_back = faults(**{setting: "8" if setting.startswith("MALLOC") else "glibc.malloc.arena_test=8"})
    assert given_back > 5 * faults()
