"""The commands that go on with a run, to paste into a shell."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from audit.ground.errors import Incomplete
from audit.run.folder import Run
from audit.run.plan import Job, Shard, spans


def resume_command(words: Sequence[str]) -> str:
    """Return a command line, shell-quoted, with --resume among its options."""
    kept = without_run_options(words, ("--resume",), ())
    return shlex.join(["robaudit", *_with(kept, "--resume")])


def without_run_options(
    words: Sequence[str],
    flags: Sequence[str] = ("--resume",),
    valued: Sequence[str] = ("--shard",),
) -> list[str]:
    """Return a command line without some flags and some options with their values."""
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            return [*kept, word, *rest]
        if word in valued:
            next(rest, None)
        elif word not in flags and word.partition("=")[0] not in valued:
            kept.append(word)
    return kept


def refuse_missing(run: Run, missing: Sequence[Job], partial: bool) -> None:
    """Refuse to make a report of a run that lacks parts.

    Args:
        run: the run.
        missing: the jobs that are not done.
        partial: whether some may be missing; not all.

    Raises:
        Incomplete: names the rows, and the commands that measure them.
    """
    if not missing or (partial and len(missing) < len(run.jobs)):
        return
    how = "\n".join(f"  {command}" for command in missing_commands(run, missing))
    raise Incomplete(
        f"The run in '{run.folder}' lacks {len(missing)} of {len(run.jobs)} parts: "
        f"rows {spans(missing)} of {run.manifest.total}",
        "Expected every part to be there and undamaged",
        f"Measure them with\n{how}\nor pass --partial for a report of what is there",
    )


def missing_commands(run: Run, missing: Sequence[Job]) -> list[str]:
    """Return the commands that measure what a run lacks: of its shards, or one."""
    manifest = run.manifest
    config = manifest.asked()
    words = manifest.command or [
        *("scan", config.model.path, config.data),
        *("--run-dir", run.folder),
    ]
    if not manifest.shards:
        return [resume_command(words)]
    shards = [Shard(k, manifest.shards) for k in range(1, manifest.shards + 1)]
    return [
        shlex.join(["robaudit", *_with(words, "--shard", str(shard))])
        for shard in shards
        if not set(missing).isdisjoint(shard.take(run.jobs))
    ]


def _with(words: Sequence[str], *options: str) -> list[str]:
    """Add options before "--", after which nothing is an option."""
    place = words.index("--") if "--" in words else len(words)
    return [*words[:place], *options, *words[place:]]
