"""One report at every width and in every encoding: nothing is lost without a word."""

import os
import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from scans import attacks, sample, scan
from typer.testing import CliRunner

from audit.cli import app
from audit.formats import diff, single, table
from audit.formats.layout import Style
from audit.ground.spelling import SPELT, spelt
from audit.reports.against import judged_by_change
from audit.reports.compare import compare
from audit.reports.json import to_json
from audit.reports.stored import stored

TYPER = app.registered_commands
ROOT = str(Path(__file__).parents[2])
WIDTHS = (60, 80, 120)
ENCODINGS = ("utf-8", "latin-1", "ascii")
COMMANDS = {
    "render": ("render", "r.json"),
    "verbose": ("render", "-v", "r.json"),
    "show": ("show", "r.json", "--index", "WORST"),
    "diff": ("diff", "r.json", "r.json"),
    "check": ("check", "r.json", "--max", "kl.gaussian.p95=0.001"),
    "explain": ("explain", "radius"),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("widths")
    report = scan(sample("heteroscedastic", limit=24, verify=8))
    (folder / "r.json").write_text(to_json(report))
    return folder, report


def said(saved, words, width, encoding):
    """What a command prints to a stream of an encoding, decoded."""
    folder, report = saved
    known = {"WORST": str(report.worst[0].index), "r.json": str(folder / "r.json")}
    words = [known.get(word, word) for word in words]
    runner = CliRunner(charset=encoding)
    done = runner.invoke(app, words, env={"COLUMNS": str(width)})
    assert isinstance(done.exception, SystemExit | None), done.exception
    return done.stdout_bytes.decode(encoding)


def said_by_a_process(folder, *words, **environment):
    """The exit code, stdout and stderr of a process, decoded as ASCII."""
    done = subprocess.run(
        [sys.executable, "-m", "audit", *words],
        capture_output=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": ROOT, **environment},
    )
    return done.returncode, done.stdout.decode("ascii"), done.stderr.decode("ascii")


LEFT_OUT = "no room for"
NUMBERS = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]\d+)?(?![\w.])")


@pytest.mark.sweep(3)
@pytest.mark.parametrize("width", [60, 120])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_encoding_says_the_same_numbers(saved, command, width):
    words = {
        encoding: said(saved, COMMANDS[command], width, encoding)
        for encoding in ENCODINGS
    }
    whole = words["utf-8"]
    for encoding, text in words.items():
        assert text.count("?") == whole.count("?"), encoding
    if command in ("show", "check", "diff"):
        wanted = set(NUMBERS.findall(whole))
        for encoding, text in words.items():
            lost = wanted - set(NUMBERS.findall(text)) - {"1"}
            if lost:  # units spelt out leave no room for a column, which has to be said
                assert LEFT_OUT in text, (encoding, lost)
                assert LEFT_OUT not in whole
                wider = said(saved, COMMANDS[command], width + 12, encoding)
                assert wanted <= set(NUMBERS.findall(wider)) | {"1"}


@pytest.mark.sweep(3)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("width", WIDTHS)
def test_every_column_is_whole_or_named_as_left_out(saved, width, encoding):
    text = said(saved, COMMANDS["render"], width, encoding)
    summary = saved[1].divergences["kl"].summary["gaussian"]
    lines = text.splitlines()
    head = next(line for line in lines if line.startswith("kl "))
    row = next(line for line in lines if line.startswith("gaussian "))
    left_out = next((line for line in lines if "no room for" in line), "")
    for column in ("p05", "p50", "mean", "p95", "max"):
        if column in head.split():
            assert f"{getattr(summary, column):.3g}" in row.split(), (column, row)
        else:
            assert column in left_out, (column, text)
    assert "distribution" in head + left_out
    assert row.split()[-1] == "nat"
    assert not re.search(r"\d[…~]", text), text


def test_a_wide_output_leaves_nothing_out(saved):
    text = said(saved, COMMANDS["render"], 120, "utf-8")
    assert "no room for" not in text


def test_the_c_locale_gets_ascii(saved):
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    plain |= {"COLUMNS": "80", "PYTHONIOENCODING": ""}
    _, text, _ = said_by_a_process(saved[0], *COMMANDS["render"], **plain)
    assert "witness <= truth <= certificate" in text
    assert "nat/delta^2" in text
    assert "?" not in text


def test_an_error_is_spelt_too(saved):
    words = ("show", "é≤ö.json", "--index", "1")
    code, _, error = said_by_a_process(saved[0], *words, PYTHONIOENCODING="ascii")
    assert (code, "'e<=oe.json'" in error) == (2, True)


def test_what_an_encoding_has_stays():
    assert spelt("0 ≤ ½ ‖δ‖² · ö", "utf-8") == "0 ≤ ½ ‖δ‖² · ö"
    assert spelt("0 ≤ ½ ‖δ‖² · ö", "latin-1") == "0 <= ½ |delta|² · ö"
    assert spelt("0 ≤ ½ ‖δ‖² · ö", "ascii") == "0 <= 1/2 |delta|^2 - oe"
    assert spelt("Ångström 語", "ascii") == "Angstroem \\u8a9e"


def test_every_symbol_of_ours_is_spelt():
    symbols = {
        symbol
        for path in (Path(ROOT) / "audit").rglob("*.py")
        for symbol in path.read_text(encoding="utf-8")
        if ord(symbol) > 127
    }
    lost = {s for s in symbols if spelt(s, "ascii").startswith("\\u")}
    assert lost == set()
    assert all(text.isascii() for text in SPELT.values())


def test_the_version_is_said_in_full(saved):
    text = said(saved, ("--version",), 80, "ascii")
    assert text.startswith("robaudit 0.1.0, python 3.")
    for name in ("torch", "onnx", "onnxruntime", "numpy"):
        assert re.search(rf", {name} \d", text)


SAMPLES = ("heteroscedastic", "digits_cnn", "counts", "sunspots_gru")
LONG = attacks(a_label_much_longer_than_a_column=("gaussian", {"sigma": "0.13"}))
CONFIG = sample("heteroscedastic")
KINDS = ("render", "verbose", "show", "diff")


@pytest.fixture(scope="module")
def reports():
    """Reports of samples, all with an attack whose label is longer than a column."""
    asked = {"limit": 12, "verify": 2, "sizes": (), "draws_per_input": 64}
    made = (sample(name, attacks=LONG, **asked) for name in SAMPLES)
    return {name: scan(one) for name, one in zip(SAMPLES, made, strict=True)}


def printed(report, kind, style):
    """What a command prints of a report."""
    if kind == "show":
        return single.render(report, report.worst[0].index, style)
    if kind == "diff":
        old, new = (stored(path, report, None) for path in ("old.json", "new.json"))
        return diff.render(compare(old, new), judged_by_change(old, new, CONFIG), style)
    return table.render(report, style)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SAMPLES)
def test_no_width_changes_or_hides_a_number(reports, name, kind, encoding):
    styles = (Style(w, False, kind == "verbose", encoding) for w in (400, 120, 80, 60))
    wide, *narrower = (printed(reports[name], kind, style) for style in styles)
    assert "no room for" not in wide
    for text, width in zip(narrower, (120, 80, 60), strict=True):
        assert max(map(len, text.splitlines())) <= width
        assert text.count("?") == wide.count("?")
        assert text.count("…") == wide.count("…")
        there, whole = (Counter(NUMBERS.findall(t)) for t in (text, wide))
        assert there <= whole, (there - whole, text)
        if "no room for" not in text:
            assert there == whole, (whole - there, text)


def test_a_width_that_is_asked_for_is_kept(saved):
    words = [*COMMANDS["render"], "--width", "130"]
    text = said(saved, words, 60, "utf-8")
    assert 100 < max(map(len, text.splitlines())) <= 130
    narrow = said(saved, [*words[:-1], "60"], 130, "utf-8")
    assert max(map(len, narrow.splitlines())) <= 60


@pytest.mark.parametrize(
    "words",
    [
        ("scan", "m.onnx", "d.npz"),
        ("inspect", "m.onnx"),
        ("selftest", "m.onnx", "d.npz"),
        ("merge", "run"),
        ("check", "r.json"),
        ("diff", "r.json", "r.json"),
        ("render", "r.json"),
        ("show", "r.json", "--index", "1"),
        ("explain", "radius"),
    ],
)
def test_a_width_without_room_is_refused_by_every_command(words):
    done = CliRunner().invoke(app, [*words, "--width", "12"])
    assert done.exit_code == 2
    assert "--width 12 is too narrow" in done.output
    assert "Expected 60 columns or more" in done.output
    assert "Give --width 60" in done.output


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("command", sorted(one.callback.__name__ for one in TYPER))
def test_a_line_of_help_breaks_only_where_the_next_word_does_not_fit(command, width):
    shown = CliRunner(env={"COLUMNS": str(width)}).invoke(app, [command, "-h"]).stdout
    head = shown.partition("╭")[0].partition("Usage:")[2].splitlines()[1:]
    lines = [line.strip() for line in head]
    assert max(map(len, head)) > width - 12  # it is as wide as it was told
    for line, following in pairwise(lines):
        if line and following:
            assert len(line) + 1 + len(following.split()[0]) > width - 2, line
