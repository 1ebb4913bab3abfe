"""What the commands of the site print, kept beside its template.

python -m tests.formats.printed            which differ from what is kept
python -m tests.formats.printed --write    keep what they print now
"""

import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from audit.formats.site.examples import EXAMPLES

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "audit" / "formats" / "site" / "printed"
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
BARS = re.compile("[▁▂▃▄▅▆▇█ ]+")
CLOSE = 0.011
"""Numbers have three digits: on another machine the last may round otherwise."""


def run(example):
    """Run a command of the site as a reader would, into a pipe."""
    mine = ("COLUMNS", "NO_COLOR")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in mine and not name.startswith("ROBAUDIT_")
    }
    words = [sys.executable, "-m", "audit", *shlex.split(example.words)[1:]]
    settings = {**kept, "PYTHONIOENCODING": "utf-8", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        words, cwd=ROOT, capture_output=True, encoding="utf-8", env=settings
    )


def difference(kept, printed):
    """Return the first words or numbers in which two outputs differ, None if none."""
    one, other = BARS.sub(" ", kept).split(), BARS.sub(" ", printed).split()
    if len(one) != len(other):
        return f"{len(one)} words", f"{len(other)} words"
    for pair in zip(one, other, strict=True):
        if NUMBER.sub("#", pair[0]) != NUMBER.sub("#", pair[1]):
            return pair
        for a, b in zip(*map(NUMBER.findall, pair), strict=True):
            if not math.isclose(float(a), float(b), rel_tol=CLOSE):
                return pair
    return None


def main(write):
    KEPT.mkdir(exist_ok=True)
    for example in EXAMPLES:
        done, path = run(example), KEPT / f"{example.page}.txt"
        if done.returncode != example.code:
            sys.exit(f"{example.words} ended with {done.returncode}: {done.stderr}")
        if write:
            path.write_text(done.stdout, "utf-8")
        else:
            print(example.page, difference(path.read_text("utf-8"), done.stdout))


if __name__ == "__main__":
    main("--write" in sys.argv)
