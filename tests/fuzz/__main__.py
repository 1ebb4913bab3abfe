"""Run many mutations over all parsers, and print what became of them."""

import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from .law import Counts, run
from .parsers import LOADERS, PARSERS

HEAD = ("parser", "mutations", "accepted", "refused", "faults", "slowest", "memory")


def main():
    """Run the command."""
    options = argparse.ArgumentParser(prog="python -m tests.fuzz")
    options.add_argument("--count", type=int, default=20000)
    options.add_argument("--first", type=int, default=0)
    options.add_argument("--match", default=".*", help="names of parsers")
    options.add_argument("--log", type=Path)
    options.add_argument("--keep", type=Path, help="where the files of faults go")
    given = options.parse_args()
    parsers = [p for p in (*PARSERS, *LOADERS) if re.fullmatch(given.match, p.name)]
    share = -(-given.count // len(parsers))
    lines = ["{:<14}{:>10}{:>10}{:>10}{:>8}{:>9}{:>10}".format(*HEAD)]
    print(lines[0], flush=True)
    total, began = Counts("all"), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for parser in parsers:
            counts = run(parser, given.first, share, Path(folder))
            found = [row(counts), *said(counts, given.keep)]
            lines += found
            print(*found, sep="\n", flush=True)
            total.join(counts)
    lines.append(row(total))
    lines.append(f"{time.monotonic() - began:.0f} s")
    print(*lines[-2:], sep="\n")
    if given.log:
        given.log.write_text("\n".join(lines) + "\n")
    sys.stdout.flush()
    os._exit(1 if total.faults else 0)


def row(counts):
    return (
        f"{counts.parser:<14}{counts.mutations:>10}{counts.accepted:>10}"
        f"{counts.refused:>10}{len(counts.faults):>8}{counts.slowest:>8.2f}s"
        f"{counts.grown >> 20:>6} MiB"
    )


def said(counts, keep):
    """Return a line for each kind of fault, and keep the smallest file of each."""
    kinds = {}
    for what, data in counts.faults:
        kinds.setdefault(what[:60], []).append((len(data), data, what))
    for number, (_, found) in enumerate(sorted(kinds.items())):
        _, data, what = min(found)
        if keep:
            keep.mkdir(exist_ok=True, parents=True)
            (keep / f"{counts.parser.replace(' ', '_')}-{number}").write_bytes(data)
        yield f"    {len(found)} × {what}"


main()
