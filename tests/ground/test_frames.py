"""A loop of calls maps no memory at each of them, however deep the stack is."""

import subprocess
import sys

import pytest

from audit.ground.frames import roomy

LOOPS = """
import resource, sys
from audit.ground.frames import roomy

CALLS = 500

def nothing(a, b, c, d):
    return a

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def looped():
    before = faults()
    for _ in range(CALLS):
        nothing(1, 2, 3, 4)
    return faults() - before

def worst(depth):
    found = looped()
    return found if not depth else max(found, (lambda: worst(depth - 1))())

run = roomy if sys.argv[1] == "roomy" else lambda run: run()
run(lambda: worst(200))  # what is made once is made
print(run(lambda: worst(200)) >= CALLS)
"""


def printed(way):
    """Whether some depth maps memory at each call, as a process says."""
    command = [sys.executable, "-c", LOOPS, way]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(sys.platform != "linux", reason="counts pages as Linux does")
def test_no_depth_of_the_stack_maps_memory_at_each_call():
    assert printed("roomy") == "False\n"


@pytest.mark.skipif(sys.platform != "linux", reason="counts pages as Linux does")
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="as 3.11 was seen to do")
def test_without_room_some_depth_does():
    assert printed("bare") == "True\n"


def test_what_is_called_answers_and_fails_as_it_does_alone():
    assert roomy(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        roomy(lambda: 1 / 0)
