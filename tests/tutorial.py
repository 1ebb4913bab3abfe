"""The commands of sample_models/README.md, and what they print, kept in it.

python -m tests.tutorial            which differ from what is kept
python -m tests.tutorial --write    keep what they print now, and the picture

A block that begins with ```console holds commands behind "$ " and what each prints.
They run in order, in one scratch folder that has `sample_models` and `robaudit`.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.formats.printed import difference

ROOT = Path(__file__).parents[1]
TUTORIAL = ROOT / "sample_models" / "README.md"
PICTURE = ROOT / "sample_models" / "heteroscedastic_radius.svg"
DRAWN = "radius.svg"
"""What a command of the tutorial calls the picture."""
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n?", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """A command, and what it prints."""

    words: str
    printed: str


def steps(text):
    """The commands of a tutorial with their outputs, in order."""
    found = []
    for block in BLOCK.findall(text):
        _, *parts = COMMAND.split(block)
        found += [Step(*pair) for pair in zip(parts[::2], parts[1::2], strict=True)]
    return found


@contextmanager
def scratch():
    """A folder with the sample models, and the environment of its commands."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sample_models").symlink_to(ROOT / "sample_models")
        (folder / "bin").mkdir()
        script = folder / "bin" / "robaudit"
        python = shlex.quote(sys.executable)
        script.write_text(f'#!/bin/sh\nexec {python} -m audit "$@"\n')
        script.chmod(0o755)
        kept = {k: v for k, v in os.environ.items() if not k.startswith("ROBAUDIT_")}
        kept.pop("COLUMNS", None)
        path = f"{folder / 'bin'}{os.pathsep}{kept['PATH']}"
        alone = {"PYTHONIOENCODING": "utf-8", "PYTHONPATH": str(ROOT), "PATH": path}
        yield folder, {**kept, **alone}


def run(step, folder, environment):
    """Run one command; only a verdict may end it with 1."""
    words = ["bash", "--noprofile", "--norc", "-o", "pipefail", "-c", step.words]
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, encoding="utf-8"
    )
    if done.returncode and f"exit {done.returncode}" not in done.stdout:
        raise RuntimeError(f"{step.words}: {done.returncode}, {done.stderr}")
    return done.stdout


def said_by(path):
    """The words of a picture."""
    found = ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")
    return [" ".join("".join(one.itertext()).split()) for one in found]


def main(write):
    text = TUTORIAL.read_text("utf-8")
    with scratch() as (folder, environment):
        for step in steps(text):
            printed = run(step, folder, environment)
            if write:
                old, new = (f"$ {step.words}\n{one}" for one in (step.printed, printed))
                assert text.count(old + "```") + text.count(old + "$ ") >= 1
                text = text.replace(old, new, 1)
            else:
                said = difference(step.printed, printed)
                print(step.words.split("|")[0].strip(), said, flush=True)
        if write:
            TUTORIAL.write_text(text, "utf-8")
            shutil.copy(folder / DRAWN, PICTURE)


if __name__ == "__main__":
    main("--write" in sys.argv)
