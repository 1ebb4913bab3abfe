"""What is freed stays: the same block is taken again without a page being touched."""

import resource
import subprocess
import sys

import pytest

from audit.ground.memory import keep_freed_memory

SCRIPT = """
import resource, sys
import torch
from audit.ground.memory import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def work():
    for _ in range(50):
        blocks = [torch.ones(2**20) for _ in range(4)]
work()
found = []
for _ in range(5):  # a system that is short of memory takes pages away now and then
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work()
    found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(min(found))
"""


@pytest.mark.slow
@pytest.mark.skipif(not keep_freed_memory(), reason="the C library has no mallopt")
def test_blocks_of_a_few_mebibytes_are_taken_again_without_faults():
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, "kept"], capture_output=True, check=True
    )
    whole = 50 * 4 * 2**22 // resource.getpagesize()
    assert int(found.stdout) < whole / 100
