"""The smallest file of each fault that mutations have found: an error with words."""

import io
import json
import struct

import numpy as np
import pytest
from reports.synthetic import EIGENVALUES, LIMITS, report_of
from scans import SAMPLES
from typer.testing import CliRunner

from audit.attacks.moments import read_moments
from audit.cli import app
from audit.geometry.frame import read_mask, read_units
from audit.ground.errors import (
    AuditError,
    ConfigError,
    Incomplete,
    InputError,
    ModelError,
)
from audit.inputs import open_inputs
from audit.models.contract import hold
from audit.models.expressions import Expression
from audit.models.network import Port
from audit.reports.json import to_json
from audit.reports.row_readers import reader_of
from audit.reports.stored import stored
from audit.run.folder import Run
from audit.run.jobs import kept
from audit.run.manifest import read_manifest

from . import mutators, parsers


def refused(kind, read, *words):
    """See that a file is refused in three parts that say some words."""
    with pytest.raises(kind) as found:
        read()
    error = found.value
    assert all((error.given, error.expected, error.next_step)), error
    for word in words:
        assert word in str(error), error


def array_with(header):
    """Return an npy file with a header of one's own."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + b"\0" * 24


HEADERS = [
    "{'descr': '<f8', 'fortran_order': False, 'shape': (3",  # tokenize.TokenError
    "{'descr': '<f8', 'fortran_order': False, 'shape': (3e0,)}",  # TypeError
    "{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (-3,)}",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 4)}",
    "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (3,)}",
    "{'descr': '|O', 'fortran_order': False, 'shape': (3,)}",
    "[" * 3000,  # RecursionError or MemoryError of the parser of literals
]


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_that_numpy_chokes_on(tmp_path, header):
    path = tmp_path / "a.npy"
    path.write_bytes(array_with(header))
    refused(ConfigError, lambda: read_units(str(path), (3,), np.ones(3)), "--units")
    refused(InputError, lambda: open_inputs(str(path), {"x": None}))
    refused(ConfigError, lambda: read_mask(str(path), (3,)), "--mask")
    inside = tmp_path / "m.npz"
    inside.write_bytes(mutators.packed({"factor.npy": array_with(header)}))
    refused(ConfigError, lambda: read_moments(inside), "moments")


SLICES = ["9" * 40, "[" * 5000, "\0", "1:2:3:4", "'a'", "\ud800"]
TEXTS = ["a\0", "\ud800", "-" * 4000 + "1", "1" * 4096, "exp(" * 90 + "a", "é@"]


@pytest.mark.parametrize("text", SLICES)
def test_a_mask_that_python_chokes_on(text):
    refused(ConfigError, lambda: read_mask(text, (3,)), "--mask")


@pytest.mark.parametrize("text", TEXTS)
def test_an_expression_that_python_chokes_on(text):
    refused(ConfigError, lambda: Expression(text))


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        found = CliRunner().invoke(app, list(map(str, words)))
        assert "internal error" not in found.stderr
        return found

    return run


def edited(folder, change):
    """Write a report whose parts no longer belong together."""
    document = json.loads(to_json(report_of(EIGENVALUES, *LIMITS)))
    change(document)
    (folder / "r.json").write_text(json.dumps(document))


def shorter_column(report):
    report["inputs"]["kl"]["trace"].pop()


def no_column(report):
    del report["inputs"]["kl"]["trace"]


COMMANDS = {
    shorter_column: ("render", "r.json", "-f", "csv"),
    no_column: ("diff", "r.json", "r.json"),
}


@pytest.mark.parametrize("change", COMMANDS, ids=lambda change: change.__name__)
def test_a_report_that_contradicts_itself(run, tmp_path, change):
    edited(tmp_path, change)
    found = run(*COMMANDS[change])
    assert found.exit_code == 2
    assert "The report 'r.json" in found.stderr
    assert "contradicts itself" in found.stderr
    assert run("check", "r.json").exit_code in (1, 2)


def test_an_index_that_is_no_whole_number(tmp_path):
    report = report_of(EIGENVALUES)
    path = tmp_path / "r.csv"
    for cell in ("nan", "inf", "0.5", "1e300"):
        path.write_text(f"index,kl.trace\n{cell},1\n" + "1,1\n" * 5)
        refused(InputError, lambda: stored("r.json", report, str(path)), "whole number")


def test_rows_that_are_of_another_kind(tmp_path):
    for suffix in (".npz", ".parquet", ".csv"):
        path = tmp_path / f"r{suffix}"
        path.write_bytes(b"PK\x03\x04\xff\xfe\x00")
        refused(InputError, lambda p=path: reader_of(str(p))("index"))


def test_a_part_of_the_right_run_without_its_answers(tmp_path):
    whole, part, job = parsers.runs()
    (tmp_path / "manifest.json").write_bytes(whole)
    run = Run(str(tmp_path), read_manifest(str(tmp_path)))
    found = mutators.members(part)
    layout = json.loads(found["layout.npy"][128:])
    for key in ("index", "skipped", "columns"):
        changed = json.loads(json.dumps(layout))
        del changed["map"]["answers"]["map"][key]
        target = io.BytesIO()
        np.save(target, np.frombuffer(json.dumps(changed).encode(), np.uint8))
        content = mutators.packed(found | {"layout.npy": target.getvalue()})
        run.path(job).write_bytes(content)
        assert run.sound(job) == (key == "columns")
        refused(Incomplete, lambda: list(kept(run, [job])))


def test_torch_logs_no_trace_of_an_archive_that_it_refuses(tmp_path, capfd):
    found = mutators.members((SAMPLES / "linear_gaussian.pt2").read_bytes())
    name = next(name for name in found if "/data/weights/weight" in name)
    found[name] = found[name][:4]
    data = mutators.packed(found)
    refused(ModelError, lambda: parsers.program(data, tmp_path), "m.pt2")
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "value", ["99999999999999999999", "[1, -99999999999999999999]"]
)
def test_a_held_number_of_more_than_64_bits(value):
    with pytest.raises(InputError, match="was given as"):
        hold(value, Port("sr"))


def test_a_folder_is_no_configuration(run, tmp_path):
    for path in (tmp_path, "\0", "a" * 300 + ".yaml"):
        found = run("scan", "m", "d", "--config", path)
        assert found.exit_code == 2, found.stderr


def test_every_error_of_a_parser_has_three_parts():
    """That is what the law says; here is that it would notice."""
    from .law import outcome_of

    def lacking(*_):
        raise AuditError("given", "", "next")

    def raising(*_):
        raise KeyError("x")

    assert outcome_of(lacking, b"", None)[0] == "fault"
    assert outcome_of(raising, b"", None)[0] == "fault"
