"""Every parser of strangers' files: good ones, how they change, what reads them."""

import functools
import io
import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch

from audit.attacks.laws import build_attack
from audit.attacks.moments import read_moments
from audit.config import ModelConfig, ScanConfig, from_environment, override
from audit.config.options import OPTIONS
from audit.formats import FORMATS
from audit.formats.single import render
from audit.geometry.divergences import build_divergence
from audit.geometry.frame import read_mask, read_units
from audit.importer import load_graph
from audit.inputs import open_inputs
from audit.inputs.names import read_feature_names
from audit.measure.preparation import probe_parameters, settings_of
from audit.models.expressions import Expression
from audit.models.metadata import metadata_notes, read_metadata
from audit.models.opening import open_unchecked
from audit.models.untrusted import checked_program, checked_script, stored_model
from audit.reports.checks import recheck
from audit.reports.json import believed, read_report
from audit.reports.keys import check_config
from audit.reports.row_readers import reader_of
from audit.run.folder import open_folder
from audit.run.jobs import kept

from . import mutators
from .mutators import BYTES, TEXT

SAMPLES = Path(__file__).parents[2] / "sample_models"
EVENT = (3,)


@dataclass(frozen=True)
class Parser:
    """One way in.

    Args:
        name: what is parsed. seeds: returns good files.
        mutate: (rng, seeds) -> a changed one. read: (bytes, folder) -> anything.
    """

    name: str
    seeds: Callable[[], list[bytes]]
    mutate: Callable
    read: Callable[[bytes, Path], object]


def text_of(rng, seeds):
    return mutators.mutated(rng, seeds, TEXT)


def bytes_of(rng, seeds):
    return mutators.mutated(rng, seeds, BYTES)


def by(*ways):
    """Return a mutation that changes a seed by one of some ways."""

    def mutate(rng, seeds):
        data = rng.choice(seeds)
        return rng.choice(ways)(rng, data, seeds)

    return mutate


def json_of(rng, seeds):
    return by(mutators.tree, mutators.tree, lambda r, d, s: text_of(r, s))(rng, seeds)


def put(folder, name, data):
    path = Path(folder) / name
    path.write_bytes(data)
    return str(path)


def words(data):
    """Return bytes as the text that a command line or an environment would hold."""
    return data.decode("utf-8", "surrogateescape").replace("\0", "")


# Configurations

YAML = b"""# comment
model: m.onnx
data: d.npz::x
family: normal
parameters: {loc: mean, scale: exp(log_std)}
held: {rate: 8000}
divergences: [kl, "renyi:alpha=0.5"]
attacks:
  - gaussian:sigma=0.1
  - weak=fixed_norm:norm=1e-3
mask: "0:3"
memory: 2GiB
max:
  kl.gaussian.p95: 0.05
min: {kl.radius.min: 0.1}
waivers:
  - {key: kl.gaussian.p95, until: 2026-12-31, reason: known}
"""
SCANS = b"""units: std
scans:
  a: {model: a.onnx, data: a.npz, max: {kl.trace.mean: 3}}
  b: {model: b.pt, data: b.npz, options: {levels: [0.1, 0.5]}, seed: 3}
gate: upper
"""
TOML = b"""[project]
name = "x"
[tool.robaudit]
model = "m.onnx"
data = 'd.npz'
top = 3
tau = 1.5e-1
divergences = ["kl", "hellinger"]
[tool.robaudit.max]
"kl.gaussian.p95" = 0.05
"kl.trace.mean" = 3
[tool.robaudit.scans.a]
seed = 0x10
"""


def read_settings(suffix):
    from audit.cli.validating import validate

    return lambda data, folder: validate(put(folder, f"c{suffix}", data))


ENVIRONMENT = [f"{name}\0{text}".encode() for name, text in (
    ("MODEL", "m.onnx"), ("PARAMETERS", "loc=mean;scale=exp(s)"), ("TOP", "3"),
    ("ATTACKS", "gaussian:sigma=0.1;a=fixed_norm:norm=1"), ("MEMORY", "2GiB"),
    ("MAX", "kl.gaussian.p95=0.05;kl.radius.p05=1e-3"), ("INDEX", "1,2,5"),
    ("OPTIONS", "levels=[0.1,0.5];a={b: c}"), ("TAU", "0.5"), ("RESUME", "yes"),
    ("MAX_INCREASE", "kl.gaussian.p95=5%"), ("SHARD", "1/2"), ("HELD", "a=1;b=x"),
    ("TARGET_SPACE", "rt:positive,c:{-1,1}"), ("INPUT_LAYOUT", "theta:0:4,x:4:6"),
)]  # fmt: skip


def read_environment(data, _):
    name, _, text = words(data.replace(b"\0", b"=", 1)).partition("=")
    found = from_environment(ScanConfig(), {f"ROBAUDIT_{name}": text})
    with suppress(KeyError):
        check_config(found)


def environment_of(rng, seeds):
    data = rng.choice(seeds)
    name, _, text = data.partition(b"\0")
    name = rng.choice((name, name, name, rng.choice(list(OPTIONS)).upper().encode()))
    return name + b"\0" + mutators.mutated(rng, [text or b"x"], TEXT)


FLAGS = [b"attacks=gaussian:sigma=0.1", b"attacks=a=moments:file=m.npz", b"index=1,5"]
FLAGS += [b"divergences=renyi:alpha=0.5", b"divergences=kl", b"max=kl.trace.mean=3"]
FLAGS += [b"memory=1.5GiB", b"shard=2/4", b"condition=x=key", b"options=levels=[1,2]"]
FLAGS += [b"rel_error=0.1", b"open_timeout=3", b"verify=auto", b"seed=1"]


def read_flags(data, _):
    name, _, text = words(data).partition("=")
    many = name in OPTIONS and OPTIONS[name].many
    config = override(ScanConfig(), "command line", **{name: [text] if many else text})
    for attack in config.attacks:
        if attack.kind != "moments":
            build_attack(attack.kind, attack.arguments)
    for divergence in config.divergences:
        build_divergence(divergence)
    check_config(config)


METADATA = [b"family: normal\nparameters: {loc: mean, scale: exp(log_std)}\n"]
METADATA += [b"contract: density\ntarget: theta\nnoise: {z: normal}\nlevels: [0.1]\n"]
METADATA += [b'{"family": "mixture:normal", "held": {"a": 1}, "seed": 3}']


def metadata(data, folder):
    metadata_notes(read_metadata(data, Path(folder) / "m.onnx"), ("levels",))


EXPRESSIONS = [b"loc", b"exp(log_std)", b"out[:, :3]", b"softplus(out[:, 3:6]) + 1e-3"]
EXPRESSIONS += [b"tril(out[:, 0:3])", b'softmax("out:0")', b"-(2 * @node/a:0 - 4) / 3"]
EXPRESSIONS += [b"sqrt(square(out[:, 1::2][:, 0:1]))", b"loc[:, 0]", b"21.0"]


def expression(data, _):
    text = Expression(words(data))
    generator = torch.Generator().manual_seed(0)
    found = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    known = {"out": found, "loc": found[:, :1], "log_std": found[:, 1]}
    text.refuse_ambiguous(("21", "1"))
    assert text.names is not None
    text.output(sliced=True)
    if text.names <= set(known):
        text(known)


# Arrays


@functools.cache
def arrays():
    """Return files of arrays, as numpy writes them."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5, 3)).astype(np.float32)
    found = []
    for save, values in (
        (
            np.savez,
            {"x": x, "rate": np.arange(5), "feature_names": np.array(["a"] * 3)},
        ),
        (np.savez_compressed, {"x": x.astype(np.float64), "y": x > 0}),
        (np.savez, {"x": np.asfortranarray(x.astype(">f8"))}),
    ):
        target = io.BytesIO()
        save(target, **values)
        found.append(target.getvalue())
    return found


@functools.cache
def npys():
    found = []
    for array in (np.ones(3), np.arange(1, 4), np.array([True, True, True])):
        target = io.BytesIO()
        np.save(target, array)
        found.append(target.getvalue())
    return found


@functools.cache
def saved(**values):
    target = io.BytesIO()
    np.savez(target, **{name: np.array(value) for name, value in values.items()})
    return target.getvalue()


@functools.cache
def moments():
    plain = io.BytesIO()
    np.savez(plain, mean=np.zeros(3), covariance=np.eye(3))
    factor = io.BytesIO()
    np.savez_compressed(factor, factor=np.ones((3, 2)))
    return [plain.getvalue(), factor.getvalue()]


@functools.cache
def vectors():
    found = list(npys())
    for array in (np.ones(3), np.array([[2.0, 3, 4]])[0]):
        target = io.BytesIO()
        np.savez(target, only=array)
        found.append(target.getvalue())
    return found


def in_archive(rng, _, data):
    return mutators.npy(rng, data)


ARCHIVE = mutators.archive(in_archive)


def array_of(rng, seeds):
    data = rng.choice(seeds)
    if data.startswith(b"PK"):
        return ARCHIVE(rng, data, seeds)
    return mutators.npy(rng, data)


def read_data(suffix):
    def read(data, folder):
        path = put(folder, f"d{suffix}", data)
        found = open_inputs(path, {"x": None}, 1 << 28)
        rows = slice(0, min(found.n, 64))
        found.take("x", rows)
        found.finite(rows)
        found.blemish(0)
        read_feature_names(path, found.arrays["x"].shape[1:])

    return read


def moments_of(data, folder):
    read_moments(Path(put(folder, "m.npz", data)))


def units_of(data, folder):
    read_units(put(folder, "u.npy", data), EVENT, np.ones(3))


def read_mask_or_slice(data, folder):
    text = words(data) if data[:2] not in (b"PK", b"\x93N") else ""
    read_mask(text or put(folder, "m.npy", data), EVENT)


def mask_of(rng, seeds):
    if rng.random() < 0.3:
        return mutators.mutated(rng, [b"0:3", b":, 2:5", b"...", b"1", b"-1:"], TEXT)
    return array_of(rng, seeds)


# Reports and runs


@functools.cache
def reports():
    from reports.synthetic import EIGENVALUES, LIMITS, report_of

    from audit.reports.json import to_json

    text = to_json(report_of(EIGENVALUES, *LIMITS))
    small = to_json(report_of(EIGENVALUES[:2]))
    old = json.loads(small) | {"schema_version": "1.0"}
    return [text.encode(), small.encode(), json.dumps(old).encode()]


def report(data, folder):
    """Read a report and do with it all that a command does."""
    from audit.formats.diff import render as render_diff
    from audit.reports.against import judged_by_change
    from audit.reports.compare import compare
    from audit.reports.stored import listed, stored

    path = put(folder, "r.json", data)
    found = read_report(path)
    with believed(path):
        recheck(found, ScanConfig(), path)
        for show in ("table", "md", "csv", "junit", "sarif", "html"):
            FORMATS[show](found)
        if found.inputs is not None and found.inputs.index:
            render(found, found.inputs.index[0])
        listed(path, found)
        one = stored(path, found)
        render_diff(compare(one, one), judged_by_change(one, one, ScanConfig()))


@functools.cache
def runs():
    """Return the manifest and a part of a run."""
    from audit.run.scan import scan_shard

    with tempfile.TemporaryDirectory() as folder:
        config = ScanConfig(
            model=ModelConfig(str(SAMPLES / "linear_gaussian.onnx")),
            data=str(SAMPLES / "linear_gaussian.npz"),
            verify=0,
            limit=8,
            run_dir=f"{folder}/run",
            shard="1/1",
        )
        found, _ = scan_shard(config)
        manifest = (Path(found.folder) / "manifest.json").read_bytes()
        return manifest, found.path(found.jobs[0]).read_bytes(), found.jobs[0]


def run_file(name):
    return lambda: [runs()[name]]


def manifest(data, folder):
    put(folder, "manifest.json", data)
    found = open_folder(str(folder))
    found.manifest.asked()
    assert found.jobs
    assert found.manifest.digest


def part(data, folder):
    whole, _, job = runs()
    put(folder, "manifest.json", whole)
    run = open_folder(str(folder))
    run.path(job).write_bytes(data)
    run.sound(job)
    list(kept(run, [job]))


def part_of(rng, seeds):
    """Change the layout of a part, which is JSON, or any member of it."""
    found = mutators.members(seeds[0])
    if rng.random() < 0.4:
        return mutators.archive(in_archive)(rng, seeds[0], seeds)
    data = found["layout.npy"]
    text = mutators.tree(rng, data[128:], [data[128:]])
    target = io.BytesIO()
    np.save(target, np.frombuffer(text, np.uint8))
    return mutators.packed(found | {"layout.npy": target.getvalue()})


@functools.cache
def rows():
    target = io.BytesIO()
    np.savez(target, index=np.arange(4), **{"kl.trace": np.ones(4)})
    return [target.getvalue()]


@functools.cache
def csvs():
    return [b'index,kl.trace,kl.gap.reason\n0,1.5,x\n1,,"a,b"\n2,inf,\n3,-1e-3,\n']


@functools.cache
def parquets():
    import pyarrow as arrow
    from pyarrow import parquet

    target = io.BytesIO()
    table = arrow.table({"index": np.arange(4), "kl.trace": np.ones(4)})
    parquet.write_table(table, target)
    return [target.getvalue()]


def read_rows(suffix):
    def read(data, folder):
        column = reader_of(put(folder, f"r{suffix}", data))
        column("index")
        column("kl.trace")

    return read


# Models


@functools.cache
def graphs():
    names = ("linear_gaussian", "heteroscedastic", "counts", "mixture")
    found = [(SAMPLES / f"{name}.onnx").read_bytes() for name in names]
    return [data for data in found if len(data) < 1 << 20]


def graph_of(rng, seeds):
    """Change an ONNX file in its bytes, or a field of its message."""
    data = rng.choice(seeds)
    if rng.random() < 0.4:
        return mutators.mutated(rng, seeds, BYTES)
    proto = onnx.load_model_from_string(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        change_message(rng, proto.graph if rng.random() < 0.9 else proto)
    return proto.SerializeToString()


def change_message(rng, message):
    """Change a random field of a random message below one."""
    for _ in range(rng.randrange(1, 6)):
        held = [v for f, v in message.ListFields() if f.message_type]
        inner = [i for v in held for i in (v if hasattr(v, "__len__") else [v])]
        if not inner or rng.random() < 0.2:
            break
        message = rng.choice(inner)
    fields = [f for f in message.DESCRIPTOR.fields if not f.message_type]
    lists = [v for f, v in message.ListFields() if hasattr(v, "__delitem__") and len(v)]
    if lists and rng.random() < 0.3:
        one = rng.choice(lists)
        del one[rng.randrange(len(one))]
        return
    if not fields:
        return
    one = rng.choice(fields)
    simple = {
        one.TYPE_STRING: ("", "x", "a" * 300, "\x1b[31m"),
        one.TYPE_BYTES: (b"", b"\xff"),
    }
    small = {one.TYPE_FLOAT: (0.0, float("nan"), 3e38), one.TYPE_DOUBLE: (0.0, 1e308)}
    whole = (0, 1, -1, 7, 2**31 - 1, -(2**31))
    if one.type in (one.TYPE_INT64, one.TYPE_UINT64):
        whole += (2**62, 2**63 - 1, -(2**63))
    new = rng.choice((simple | small).get(one.type, whole))
    with suppress(ValueError, TypeError, AttributeError):
        current = getattr(message, one.name)
        if hasattr(current, "append"):
            if len(current) and rng.random() < 0.7:
                current[rng.randrange(len(current))] = new
            else:
                current.append(new)
        else:
            setattr(message, one.name, new)


def graph(data, folder):
    """Load a graph and call it once on zeros of its inputs' shapes."""
    found = load_graph(put(folder, "m.onnx", data))
    values = []
    for info in found.inputs:
        if info.dtype is None or info.shape is None:
            return
        shape = [axis if isinstance(axis, int) else 2 for axis in info.shape]
        if np.prod([float(axis) for axis in shape]) > 1e6:
            return
        values.append(torch.ones(shape, dtype=info.dtype))
    found(*values)


CONTRACTS = [b"family: normal\nparameters: {loc: loc, scale: exp(log_scale)}\n"]
CONTRACTS += [b"family: normal\nparameters:\n  loc: loc[:, :1]\n  scale: 0.5\n"]
CONTRACTS += [b"family: quantile\nparameters: {quantiles: loc}\nlevels: [0.2, 0.7]\n"]
CONTRACTS += [b"family: student_t\nparameters: {loc: loc, scale: 1, df: 4}\n"]
CONTRACTS += [b"contract: density\ntarget: x\ntarget_space: 'a:positive,b:{-1,1}'\n"]
CONTRACTS += [b"contract: transport\nnoise: {z: normal}\ninput_layout: 'z:0:4,x:4:9'\n"]
CONTRACTS += [b"family: mixture:normal\nparameters: {loc: loc, scale: 1, logits: 0}\n"]
CONTRACTS += [b"family: normal\ncondition: x\nheld: {x: 3}\ncontract: parameters\n"]


@functools.cache
def described():
    return onnx.load(SAMPLES / "heteroscedastic.onnx")


def contract(data, folder):
    """Open a file that describes itself in other words, and run it on a few rows."""
    proto = onnx.ModelProto()
    proto.CopyFrom(described())
    del proto.metadata_props[:]
    proto.metadata_props.add(key="robaudit", value=data.decode("utf-8", "replace"))
    path = put(folder, "m.onnx", proto.SerializeToString())
    config = ScanConfig(model=ModelConfig(path))
    opened = open_unchecked(settings_of(config), str(SAMPLES / "heteroscedastic.npz"))
    probe_parameters(opened)


def models(suffix):
    @functools.cache
    def read():
        names = ("linear_gaussian", "heteroscedastic")
        return [(SAMPLES / f"{name}{suffix}").read_bytes() for name in names]

    return read


def member(rng, name, data):
    """Change a member of a torch archive by what it is."""
    if name.endswith(".json"):
        return mutators.tree(rng, data, [data])
    if name.endswith((".py", "version", "byteorder")):
        return mutators.mutated(rng, [data], TEXT)
    return mutators.mutated(rng, [data], BYTES)


TORCH = mutators.archive(member)


def script(data, folder):
    from audit.models.torchscript import load

    load(Path(put(folder, "m.pt", data)), torch.device("cpu"), False, frozenset())


def program(data, folder):
    from audit.models.exported import load

    load(Path(put(folder, "m.pt2", data)), torch.device("cpu"), False, frozenset())


def scanned(check):
    def read(data, folder):
        check(stored_model(Path(put(folder, "m", data))), False)

    return read


PARSERS = [
    Parser("yaml", lambda: [YAML, SCANS], text_of, read_settings(".yaml")),
    Parser("toml", lambda: [TOML], text_of, read_settings(".toml")),
    Parser("environment", lambda: ENVIRONMENT, environment_of, read_environment),
    Parser("options", lambda: FLAGS, text_of, read_flags),
    Parser("metadata", lambda: METADATA, text_of, metadata),
    Parser("expressions", lambda: EXPRESSIONS, text_of, expression),
    Parser("npz", arrays, array_of, read_data(".npz")),
    Parser("npy", npys, array_of, read_data(".npy")),
    Parser("moments", moments, array_of, moments_of),
    Parser("mask", vectors, mask_of, read_mask_or_slice),
    Parser("units", vectors, array_of, units_of),
    Parser("reports", reports, json_of, report),
    Parser("manifest", run_file(0), json_of, manifest),
    Parser("part", run_file(1), part_of, part),
    Parser("rows npz", rows, array_of, read_rows(".npz")),
    Parser("rows csv", csvs, text_of, read_rows(".csv")),
    Parser("rows parquet", parquets, bytes_of, read_rows(".parquet")),
    Parser("onnx", graphs, graph_of, graph),
    Parser("contract", lambda: CONTRACTS, text_of, contract),
    Parser("pt structure", models(".pt"), by(TORCH), scanned(checked_script)),
    Parser("pt2 structure", models(".pt2"), by(TORCH), scanned(checked_program)),
]  # fmt: skip
LOADERS = [
    Parser("pt", models(".pt"), by(TORCH), script),
    Parser("pt2", models(".pt2"), by(TORCH), program),
]
